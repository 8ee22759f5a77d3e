//! One file twice: as the running system reads it, and as the medium holds it.
//!
//! A write that is not flushed is a *layer* above the durable content. A power cut picks, for every 512-byte sector,
//! one of the layers that touch it or the durable bytes below them. A flush settles only what was there when the
//! flush was asked for. Pages are shared, so a copy of a file costs a few pointers per page.

use crate::chance::SimEntropy;
use crate::mark::{self, Marks};
use std::collections::BTreeMap;
use std::rc::Rc;
use tantu_base::limit::{BLOCK_ALIGN, SECTOR_SIZE};

/// Bytes of a page.
pub(crate) const PAGE_SIZE: usize = BLOCK_ALIGN;
/// Sectors of a page; a page's sectors fit the bits of a `u8`.
const SECTOR_COUNT: usize = PAGE_SIZE / SECTOR_SIZE;
const _: () = assert!(SECTOR_COUNT == 8);
/// Unflushed versions of one page that are remembered, the newest ones.
const LAYER_COUNT_MAX: usize = 6;

type Page = [u8; PAGE_SIZE];

/// Bytes of a file: pages never written are zero and cost nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Rc<Page>>,
    len: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Cuts or grows; bytes that come into view are zero.
    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, rest) = (len / PAGE_SIZE as u64, (len % PAGE_SIZE as u64) as usize);
            let dead = self.pages.split_off(&(page + u64::from(rest > 0)));
            drop(dead);
            if let Some(page) = self.pages.get_mut(&page).filter(|_| rest > 0) {
                Rc::make_mut(page)[rest..].fill(0);
            }
        }
        self.len = len;
    }

    /// Bytes that exist from `offset` on, up to as many as asked for.
    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> usize {
        let count = self.len.saturating_sub(offset).min(out.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let (page, start) = (at / PAGE_SIZE as u64, (at % PAGE_SIZE as u64) as usize);
            let step = (PAGE_SIZE - start).min(count - done);
            match self.pages.get(&page) {
                Some(page) => out[done..done + step].copy_from_slice(&page[start..start + step]),
                None => out[done..done + step].fill(0),
            }
            done += step;
        }
        count
    }

    /// Changes bytes in place; the file grows if it must.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) {
        self.len = self.len.max(offset + bytes.len() as u64);
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (page, start) = (at / PAGE_SIZE as u64, (at % PAGE_SIZE as u64) as usize);
            let step = (PAGE_SIZE - start).min(bytes.len() - done);
            let page = Rc::make_mut(self.pages.entry(page).or_insert_with(|| Rc::new([0; PAGE_SIZE])));
            page[start..start + step].copy_from_slice(&bytes[done..done + step]);
            done += step;
        }
    }

    fn sector(&self, page: u64, sector: usize) -> [u8; SECTOR_SIZE] {
        self.pages.get(&page).map_or([0; SECTOR_SIZE], |page| sector_of(page, sector))
    }

    /// Puts the sectors of a mask in, without a look at the length.
    fn put_sectors(&mut self, page: u64, mask: u8, bytes: &Rc<Page>) {
        if mask == u8::MAX {
            self.pages.insert(page, bytes.clone());
            return;
        }
        let target = Rc::make_mut(self.pages.entry(page).or_insert_with(|| Rc::new([0; PAGE_SIZE])));
        for sector in sectors(mask) {
            let range = sector * SECTOR_SIZE..(sector + 1) * SECTOR_SIZE;
            target[range.clone()].copy_from_slice(&bytes[range]);
        }
    }

    fn put_sector(&mut self, page: u64, sector: usize, bytes: &[u8; SECTOR_SIZE]) {
        let target = Rc::make_mut(self.pages.entry(page).or_insert_with(|| Rc::new([0; PAGE_SIZE])));
        target[sector * SECTOR_SIZE..(sector + 1) * SECTOR_SIZE].copy_from_slice(bytes);
    }
}

fn sector_of(page: &Page, sector: usize) -> [u8; SECTOR_SIZE] {
    page[sector * SECTOR_SIZE..(sector + 1) * SECTOR_SIZE].try_into().expect("invariant: a sector's bytes")
}

fn sectors(mask: u8) -> impl Iterator<Item = usize> {
    (0..SECTOR_COUNT).filter(move |sector| mask & (1 << sector) != 0)
}

/// A write of some sectors of a page that was not flushed.
#[derive(Clone, Debug)]
struct Layer {
    at: u64,
    mask: u8,
    bytes: Rc<Page>,
    /// Its flush has failed: no later flush makes it durable.
    orphan: bool,
}

/// What a power cut tends to do to unflushed things. The extremes are as likely as the middle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutBias {
    /// Of a hundred unflushed sectors, those that survive.
    pub sector_percent: u32,
    /// Of a hundred unflushed changes of names, those that survive.
    pub name_percent: u32,
    /// Of a hundred requests in flight, those that had begun.
    pub request_percent: u32,
    /// Of a hundred surviving sectors, those torn inside.
    pub torn_percent: u32,
}

impl CutBias {
    /// Everything unflushed is lost: what a drive with a large cache does.
    pub const LOSE_ALL: CutBias = CutBias { sector_percent: 0, name_percent: 0, request_percent: 0, torn_percent: 0 };
    /// Everything written survives: what a process kill or a drive without a cache does.
    pub const KEEP_ALL: CutBias =
        CutBias { sector_percent: 100, name_percent: 100, request_percent: 100, torn_percent: 0 };

    /// One at random.
    pub fn draw(chance: &mut SimEntropy, torn_percent: u32) -> Self {
        let mut draw = || *chance.pick(&[0, 0, 20, 50, 80, 100, 100]);
        Self { sector_percent: draw(), name_percent: draw(), request_percent: draw(), torn_percent }
    }
}

/// A file of the simulated disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimFile {
    live: Content,
    durable: Content,
    pending: BTreeMap<u64, Vec<Layer>>,
    pending_lens: Vec<(u64, u64)>,
}

impl SimFile {
    pub(crate) fn live(&self) -> &Content {
        &self.live
    }

    /// Writes without flushing. `keep` says which sectors, counted from the start of the write, really change: all of
    /// them unless the request failed or was cut off.
    pub(crate) fn write(&mut self, seq: u64, offset: u64, bytes: &[u8], orphan: bool, mut keep: impl FnMut() -> bool) {
        for (page, bytes) in pages_of(offset, bytes) {
            let mask = (0..SECTOR_COUNT).fold(0u8, |mask, sector| mask | (u8::from(keep()) << sector));
            if mask == 0 {
                continue;
            }
            self.grow(seq, (page + 1) * PAGE_SIZE as u64);
            self.live.put_sectors(page, mask, &bytes);
            let layers = self.pending.entry(page).or_default();
            layers.push(Layer { at: seq, mask, bytes, orphan });
            if layers.len() > LAYER_COUNT_MAX {
                layers.remove(0);
            }
        }
    }

    /// Writes and flushes this range, and the length it needs.
    pub(crate) fn write_durable(&mut self, offset: u64, bytes: &[u8]) {
        for (page, bytes) in pages_of(offset, bytes) {
            self.live.put_sectors(page, u8::MAX, &bytes);
            self.durable.put_sectors(page, u8::MAX, &bytes);
            self.pending.remove(&page);
        }
        let end = offset + bytes.len() as u64;
        self.live.len = self.live.len.max(end);
        self.durable.len = self.durable.len.max(end);
        self.pending_lens.retain(|(_, len)| *len > end);
    }

    /// Makes the file at least so long, which the medium knows after a flush.
    pub(crate) fn grow(&mut self, seq: u64, len: u64) {
        if len > self.live.len {
            self.live.len = len;
            self.pending_lens.push((seq, len));
        }
    }

    /// Flushes what was written before `upto`.
    pub(crate) fn flush(&mut self, upto: u64) {
        let durable = &mut self.durable;
        self.pending.retain(|page, layers| {
            for at in 0..layers.len() {
                let layer = layers[at].clone();
                if layer.at >= upto || layer.orphan {
                    continue;
                }
                durable.put_sectors(*page, layer.mask, &layer.bytes);
                layers[..=at].iter_mut().for_each(|below| below.mask &= !layer.mask);
            }
            layers.retain(|layer| layer.mask != 0);
            !layers.is_empty()
        });
        self.pending_lens.retain(|(at, len)| {
            if *at < upto {
                durable.len = durable.len.max(*len);
            }
            *at >= upto
        });
    }

    /// A flush of buffered pages failed: they stay as they are read, count as clean, and no later flush writes them.
    pub(crate) fn orphan(&mut self, upto: u64) {
        let layers = self.pending.values_mut().flatten();
        layers.filter(|layer| layer.at < upto).for_each(|layer| layer.orphan = true);
    }

    /// A flush of a drive's cache failed: the drive may have dropped any sector that was in it, and then reads show
    /// what was there before.
    pub(crate) fn drop_from_cache(&mut self, upto: u64, mut dropped: impl FnMut() -> bool) {
        let Self { live, durable, pending, .. } = self;
        pending.retain(|page, layers| {
            for layer in layers.iter_mut().filter(|layer| layer.at < upto) {
                let kept = (0..SECTOR_COUNT).fold(0u8, |mask, sector| mask | (u8::from(!dropped()) << sector));
                layer.mask &= kept;
            }
            let mut bytes = [0; PAGE_SIZE];
            (0..SECTOR_COUNT).for_each(|sector| {
                bytes[sector * SECTOR_SIZE..(sector + 1) * SECTOR_SIZE].copy_from_slice(&durable.sector(*page, sector));
            });
            live.put_sectors(*page, u8::MAX, &Rc::new(bytes));
            layers.iter().for_each(|layer| live.put_sectors(*page, layer.mask, &layer.bytes));
            layers.retain(|layer| layer.mask != 0);
            !layers.is_empty()
        });
    }

    /// What the medium holds after a power cut.
    pub(crate) fn cut(&mut self, bias: CutBias, chance: &mut SimEntropy, marks: &Marks) {
        let mut left = std::mem::take(&mut self.durable);
        let mut len = left.len;
        for (_, pending) in std::mem::take(&mut self.pending_lens) {
            if chance.percent(bias.sector_percent) {
                len = len.max(pending);
            } else {
                marks.hit(mark::LOST_LENGTH);
            }
        }
        for (page, layers) in std::mem::take(&mut self.pending) {
            for sector in 0..SECTOR_COUNT {
                let versions: Vec<&Layer> = layers.iter().filter(|layer| layer.mask & (1 << sector) != 0).collect();
                cut_sector(&mut left, (page, sector), &versions, bias, chance, marks);
            }
        }
        left.len = left.len.max(self.live.len);
        left.set_len(len);
        self.live = left.clone();
        self.durable = left;
    }

    /// Forgets what the medium may not hold: everything written so far is durable.
    pub(crate) fn settle(&mut self) {
        self.durable = self.live.clone();
        self.pending.clear();
        self.pending_lens.clear();
    }

    /// Changes the bytes behind everybody's back, on the medium and in what is read.
    pub(crate) fn tamper(&mut self, change: impl FnOnce(&mut Content)) {
        self.settle();
        change(&mut self.live);
        self.settle();
    }

    /// Whether a power cut could take anything away.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.pending_lens.is_empty()
    }
}

fn cut_sector(
    left: &mut Content,
    (page, sector): (u64, usize),
    versions: &[&Layer],
    bias: CutBias,
    chance: &mut SimEntropy,
    marks: &Marks,
) {
    let Some(newest) = versions.last() else { return };
    if !chance.percent(bias.sector_percent) {
        marks.hit(mark::LOST_SECTOR);
        return;
    }
    let chosen = if versions.len() > 1 && chance.percent(25) {
        marks.hit(mark::STALE_SECTOR);
        *chance.pick(&versions[..versions.len() - 1])
    } else {
        newest
    };
    let mut bytes = sector_of(&chosen.bytes, sector);
    if chance.percent(bias.torn_percent) {
        marks.hit(mark::TORN_SECTOR);
        let torn_at = chance.below(SECTOR_SIZE as u64) as usize;
        bytes[torn_at..].copy_from_slice(&left.sector(page, sector)[torn_at..]);
    } else {
        marks.hit(mark::KEPT_SECTOR);
    }
    left.put_sector(page, sector, &bytes);
}

fn pages_of(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, Rc<Page>)> {
    assert_eq!(offset % PAGE_SIZE as u64, 0, "a write that does not start at a block");
    assert_eq!(bytes.len() % PAGE_SIZE, 0, "a write that does not end at a block");
    let first = offset / PAGE_SIZE as u64;
    let page = |bytes: &[u8]| Rc::new(Page::try_from(bytes).expect("invariant: chunks of a page"));
    bytes.chunks_exact(PAGE_SIZE).zip(first..).map(move |(bytes, at)| (at, page(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::door::Entropy;

    fn random_pages(chance: &mut SimEntropy, count: usize) -> Vec<u8> {
        (0..count * PAGE_SIZE / 8).flat_map(|_| chance.next_u64().to_le_bytes()).collect()
    }

    fn read(content: &Content) -> Vec<u8> {
        let mut bytes = vec![0; content.len() as usize];
        content.read_at(0, &mut bytes);
        bytes
    }

    #[test]
    fn content_reads_like_a_vector() {
        let mut chance = SimEntropy::new(5);
        let (mut content, mut model) = (Content::default(), Vec::new());
        for _ in 0..500 {
            let offset = chance.below(20_000) as usize;
            let bytes: Vec<u8> = (0..chance.below(9_000)).map(|n| n as u8 ^ offset as u8).collect();
            if chance.percent(20) {
                content.set_len(offset as u64);
                model.resize(offset, 0);
            } else if !bytes.is_empty() {
                content.write_at(offset as u64, &bytes);
                model.resize(model.len().max(offset + bytes.len()), 0);
                model[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            assert_eq!(read(&content), model);
        }
    }

    #[test]
    fn a_cut_mixes_old_and_new_sectors_and_nothing_else() {
        let (mut whole, mut mixed) = (0, 0);
        for seed in 0..200 {
            let mut chance = SimEntropy::new(seed);
            let (old, new) = (random_pages(&mut chance, 2), random_pages(&mut chance, 2));
            let mut file = SimFile::default();
            file.write_durable(0, &old);
            file.write(1, 0, &new, false, || true);
            let bias = CutBias { torn_percent: 0, ..CutBias::draw(&mut chance, 0) };
            file.cut(bias, &mut chance, &Marks::default());
            let left = read(&file.live);
            let kept = left.chunks(512).zip(new.chunks(512)).filter(|(left, new)| left == new).count();
            let lost = left.chunks(512).zip(old.chunks(512)).filter(|(left, old)| left == old).count();
            assert_eq!(kept + lost, 16, "seed {seed}: each sector is old or new");
            if kept == 0 || lost == 0 { whole += 1 } else { mixed += 1 }
        }
        assert!(whole > 20 && mixed > 20, "{whole} {mixed}");
    }

    #[test]
    fn a_flush_covers_what_came_before_it_and_a_failed_one_of_buffered_pages_covers_nothing() {
        let page = |fill: u8| vec![fill; PAGE_SIZE];
        let cut = |mut file: SimFile| {
            file.cut(CutBias::LOSE_ALL, &mut SimEntropy::new(1), &Marks::default());
            read(&file.live)
        };
        let mut file = SimFile::default();
        file.write(1, 0, &page(1), false, || true);
        file.write(5, PAGE_SIZE as u64, &page(2), false, || true);
        assert_eq!(cut(file.clone()), [], "not even the length was flushed");
        file.flush(5);
        assert_eq!(cut(file.clone()), page(1));
        file.flush(6);
        assert_eq!(cut(file.clone()), [page(1), page(2)].concat());
        file.write(7, 0, &page(3), false, || true);
        file.orphan(8);
        file.flush(9);
        assert_eq!(cut(file.clone()), [page(1), page(2)].concat(), "a failed flush is not healed by the next");
        assert_eq!(read(&file.live), [page(3), page(2)].concat());
        file.write(10, 0, &page(4), false, || true);
        file.flush(11);
        assert_eq!(cut(file.clone()), [page(4), page(2)].concat(), "written again, it is flushed again");
        assert!(file.is_settled());
    }

    #[test]
    fn a_drive_that_fails_to_flush_may_forget_and_then_reads_say_so() {
        let mut chance = SimEntropy::new(3);
        let mut file = SimFile::default();
        file.write_durable(0, &[1; PAGE_SIZE]);
        file.write(1, 0, &[2; PAGE_SIZE], false, || true);
        file.drop_from_cache(2, || chance.percent(50));
        let read_now = read(&file.live);
        assert!(read_now.contains(&1) && read_now.contains(&2));
        file.flush(3);
        file.cut(CutBias::LOSE_ALL, &mut SimEntropy::new(1), &Marks::default());
        assert_eq!(read(&file.live), read_now, "what reads show, a later flush makes durable");
    }
}
