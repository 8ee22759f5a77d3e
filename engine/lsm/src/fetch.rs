//! Reading blocks that readers stopped for, and those next to them that a scan will come to.

use crate::cache::BlockCache;
use crate::error::{BlockId, Fault, Need, Neighbours, Stop};
use crate::table::Table;
use crate::tree::{Completed, TAG_BLOCK, TAG_KIND, Tree};
use std::ops::Range;
use tantu_base::buf::Buf;
use tantu_base::door::{Disk, DiskError, DiskOp, DiskReply, Token};

/// Most blocks of one read.
const READ_BLOCK_COUNT_MAX: usize = 8;
/// Most bytes of a read of more than one block.
const READ_SIZE_MAX: usize = 256 << 10;
/// The part of the cache that one read may fill: less than a scan leaves to others.
const READ_CACHE_PARTS: usize = 20;
/// With so many reads of a tree on the disk, nothing is read ahead.
const READS_WITH_AHEAD_MAX: usize = 16;

const _: () = assert!(READ_BLOCK_COUNT_MAX <= u8::BITS as usize, "a bit for each block of a read");

/// Neighbouring blocks of a table that one read brings.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) table: u64,
    blocks: Range<u32>,
    /// A bit for each block that a reader waits for.
    awaited: u8,
}

impl Reading {
    fn holds(&self, id: &BlockId) -> bool {
        self.table == id.table && self.blocks.contains(&id.block)
    }

    fn expect(&mut self, block: u32) {
        self.awaited |= 1 << (block - self.blocks.start);
    }

    fn is_awaited(&self, block: u32) -> bool {
        self.awaited & 1 << (block - self.blocks.start) != 0
    }

    fn awaited(&self) -> Vec<BlockId> {
        let blocks = self.blocks.clone().filter(|block| self.is_awaited(*block));
        blocks.map(|block| BlockId { table: self.table, block }).collect()
    }
}

/// Which way a scan goes, and what it does not go past.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heading<'a> {
    /// Up to a key.
    Up(&'a [u8]),
    /// Down to a key.
    Down(&'a [u8]),
}

impl Tree {
    /// The stop of a scan that misses a block after it has passed so many of the run: the next up to as many again are read
    /// along, so that the reads of a long scan double in size.
    #[cold]
    pub(crate) fn stop_ahead(
        &self,
        cache: &BlockCache,
        table: &Table,
        block: usize,
        passed: usize,
        heading: Heading<'_>,
    ) -> Stop {
        let index = &table.meta.index;
        let count_max = (passed * 2).min(READ_BLOCK_COUNT_MAX);
        let size_max = READ_SIZE_MAX.min(cache.size_max() / READ_CACHE_PARTS);
        let (mut along, mut size) = (block..block + 1, index[block].size as usize);
        while along.len() < count_max {
            let next = match heading {
                Heading::Up(to) => Some(along.end).filter(|at| index.get(*at).is_some_and(|e| e.first_key[..] < *to)),
                Heading::Down(from) => along.start.checked_sub(1).filter(|at| index[at + 1].first_key[..] > *from),
            };
            let Some(next) = next else { break };
            size += index[next].size as usize;
            if size > size_max || self.look(cache, table, next).is_some() {
                break;
            }
            along = along.start.min(next)..along.end.max(next + 1);
        }
        let id = BlockId { table: table.number, block: block as u32 };
        Stop::Need(Need { blocks: vec![id], along: along.start as u32..along.end as u32 })
    }

    /// Starts to read blocks that a reader stopped for; false if there is nothing to wait for: read again at once.
    #[must_use]
    pub fn fetch(&mut self, need: &Need, disk: &mut dyn Disk) -> bool {
        let mut outstanding = false;
        for (n, id) in need.blocks.iter().enumerate() {
            if let Some(reading) = self.reading.values_mut().find(|reading| reading.holds(id)) {
                reading.expect(id.block);
                outstanding = true;
                continue;
            }
            // A merge may have replaced the table: the reader reads again and finds the new one.
            let Some(table) = self.tables().find(|table| table.number == id.table) else { continue };
            outstanding = true;
            let alone = n > 0 || !need.along.contains(&id.block) || self.reading.len() >= READS_WITH_AHEAD_MAX;
            let blocks = if alone { id.block..id.block + 1 } else { self.not_yet_read(id, &need.along) };
            let index = &table.meta.index[blocks.start as usize..blocks.end as usize];
            let (file, offset) = (table.file, index[0].offset);
            let size = index.iter().map(|entry| entry.size as usize).sum();
            let tag = TAG_BLOCK | (self.next_tag & !TAG_KIND);
            self.next_tag = self.next_tag.wrapping_add(1);
            let mut reading = Reading { table: id.table, blocks, awaited: 0 };
            reading.expect(id.block);
            self.reading.insert(tag, reading);
            disk.submit(Token { owner: self.owner, tag }, DiskOp::Read { file, offset, buf: Buf::zeroed(size) });
        }
        outstanding
    }

    /// A block and its neighbours in `along`, as far as nobody reads them already.
    fn not_yet_read(&self, id: &BlockId, along: &Range<u32>) -> Range<u32> {
        let free = |block: &u32| {
            let id = BlockId { table: id.table, block: *block };
            !self.reading.values().any(|reading| reading.holds(&id))
        };
        let start = (along.start..id.block).rev().take_while(free).last().unwrap_or(id.block);
        let end = (id.block + 1..along.end).take_while(free).last().unwrap_or(id.block);
        start..end + 1
    }

    /// Takes the end of a read of blocks.
    pub(crate) fn take_blocks(
        &mut self,
        tag: u32,
        result: Result<DiskReply, DiskError>,
        cache: &mut BlockCache,
        disk: &mut dyn Disk,
    ) -> Result<Completed, Fault> {
        let reading = self.reading.remove(&tag).expect("invariant: blocks were asked for");
        let awaited = reading.awaited();
        let arrived = Neighbours { table: reading.table, first: reading.blocks.start, end: reading.blocks.end };
        if result.is_err() && awaited.len() < reading.blocks.len() {
            // The blocks that were read along must not keep a reader from its own.
            for id in awaited {
                let _outstanding = self.fetch(&Need::of(vec![id]), disk);
            }
            self.discard_retired(reading.table, disk);
            return Ok(Completed::BlocksArrived(arrived));
        }
        self.discard_retired(reading.table, disk);
        let DiskReply::Read { buf, len } = result? else { unreachable!("a read answers with bytes") };
        // A merge may have replaced the table meanwhile; the reader asks again and finds the new one.
        let Some(table) = self.tables().find(|table| table.number == reading.table) else {
            return Ok(Completed::BlocksArrived(arrived));
        };
        let (mut damage, mut at) = (None, 0);
        for block in reading.blocks.clone() {
            let entry = &table.meta.index[block as usize];
            let end = at + entry.size as usize;
            let bytes = buf.get(at..end.min(len)).unwrap_or_default();
            at = end;
            let awaited = reading.is_awaited(block);
            match table.check(entry, bytes) {
                Ok(block_read) => {
                    cache.insert((self.owner, reading.table, block), table.frame(block as usize), block_read, awaited);
                }
                Err(corruption) if awaited => damage = damage.or(Some(corruption)),
                // Whoever comes to it reads it again and is told.
                Err(_) => {}
            }
        }
        damage.map_or(Ok(Completed::BlocksArrived(arrived)), |corruption| Err(corruption.into()))
    }

    /// Lets go of a replaced table when no read of it is left.
    fn discard_retired(&mut self, table: u64, disk: &mut dyn Disk) {
        if let Some(at) = self.retired.iter().position(|retired| retired.number == table)
            && !self.is_read(table)
        {
            let table = self.retired.swap_remove(at);
            self.discard(&table, disk);
        }
    }
}
