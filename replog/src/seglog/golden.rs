//! The bytes of a segment, as version 1 writes them: an older log must open for ever.

use super::format::{GROUP_HEADER_SIZE, GROUPS_AT, Group, GroupHeader, HeaderCopy, SegmentId, read_header};
use crate::Lsn;
use tantu_base::buf::Buf;
use tantu_base::id::Epoch;

#[allow(clippy::disallowed_methods, reason = "a test reads its golden file; TANTU_BLESS=1 writes it anew")]
fn check(name: &str, bytes: &[u8]) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TANTU_BLESS").is_some() {
        std::fs::write(&path, bytes).expect("the golden folder can be written");
    }
    let golden = std::fs::read(&path).expect("the golden file is there");
    assert!(golden == bytes, "{name}: this build writes other bytes than version 1 did");
}

#[test]
fn a_segment_of_version_1_stays_as_it_is() {
    let id = SegmentId { group: 3, incarnation: 0x0123_4567_89ab_cdef, seq: 7 };
    let mut file = id.header(b"base").to_vec();
    let mut buf = Buf::with_capacity(4096);
    buf.resize(GROUP_HEADER_SIZE);
    for body in [&b"first entry"[..], b""] {
        buf.extend(&(body.len() as u32).to_le_bytes());
        buf.extend(body);
    }
    let header = GroupHeader {
        first: Lsn(40),
        count: 2,
        epoch: Epoch(5),
        durable: Lsn(40),
        low: Lsn(12),
        previous: id.chain_start(),
    };
    header.finish(&id, GROUPS_AT, &mut buf);
    file.extend_from_slice(&buf);
    check("replog-segment.bin", &file);
    let copy = HeaderCopy::Valid { incarnation: id.incarnation, base: b"base".to_vec() };
    assert_eq!([0, 1].map(|at| read_header(3, 7, at, &file)), [copy.clone(), copy]);
    let group = Group::read(&id, &file, GROUPS_AT as usize).expect("whole");
    assert_eq!(group.header, header);
    assert_eq!(group.bodies().map(|body| body.expect("whole")).collect::<Vec<_>>(), [&b"first entry"[..], b""]);
}
