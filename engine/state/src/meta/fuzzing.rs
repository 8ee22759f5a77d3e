//! What the fuzz targets may call: the documents of a directory, behind their checksums.

use super::{
    BLOCK_ALIGN, CHECKPOINT_DOCUMENT, FORMAT_VERSION, HEADER_SIZE, MAGIC, MODULE_DOCUMENT, ModuleMeta, Path, body_of,
    decode_reached, document, encode_reached, place,
};

/// Any bytes as both documents, their checksums put right: refused, or exactly what is written again.
pub fn documents(bytes: &[u8]) {
    for kind in [MODULE_DOCUMENT, CHECKPOINT_DOCUMENT] {
        let mut file = bytes.to_vec();
        file.resize(bytes.len().max(1).next_multiple_of(BLOCK_ALIGN), 0);
        file[..8].copy_from_slice(&MAGIC.to_le_bytes());
        file[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        file[HEADER_SIZE - 4..HEADER_SIZE].fill(0);
        let crc = place(kind, 0).crc(&file);
        file[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc.to_le_bytes());
        let written = file.clone();
        let Ok(body) = body_of(Path::new("document"), kind, 0, &mut file) else { continue };
        let again = match kind {
            MODULE_DOCUMENT => ModuleMeta::decode(body).map(|meta| meta.encode()),
            _ => decode_reached(body).map(|reached| encode_reached(&reached)),
        };
        let Ok(again) = again else { continue };
        assert_eq!(again, body, "it was encoded in another way");
        assert!(document(kind, 0, &again)[..] == written, "its file was written in another way");
    }
}

/// Documents to begin with, without their padding.
pub fn document_seeds() -> Vec<Vec<u8>> {
    (0..24).map(|n| if n % 2 == 0 { module_seed(n) } else { checkpoint_seed(n) }).collect()
}

fn module_seed(n: u32) -> Vec<u8> {
    use super::ObjectKind::{Depot, PState, Source};
    let mut meta = ModuleMeta { module: "Words".to_string(), task_count: n, thread_count: 1, objects: Vec::new() };
    for at in 0..n as usize % 7 {
        meta.object([Depot, PState, Source][at % 3], &format!("*object{at}"), &[1, 2, 3][..at % 4]);
    }
    without_padding(&document(MODULE_DOCUMENT, 0, &meta.encode()))
}

fn checkpoint_seed(n: u32) -> Vec<u8> {
    let reached: Vec<_> = (0..n % 8).map(|task| (super::TaskId(task), super::Version(u64::from(n + task)))).collect();
    without_padding(&document(CHECKPOINT_DOCUMENT, 0, &encode_reached(&reached)))
}

fn without_padding(file: &[u8]) -> Vec<u8> {
    file[..file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)].to_vec()
}
