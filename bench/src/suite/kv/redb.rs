//! redb, in this process: a copy-on-write B-tree in one file. It has no log; what it writes without flushing are
//! transactions of many puts.

use super::engine::{Engine, READS_PER_SNAPSHOT, Taken, Writer, failed};
use super::{KvArgs, key_of};
use crate::error::BenchError;
use crate::fields::Fields;
use crate::report::Figures;
use redb::{Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;
use std::sync::Arc;

const TABLE: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("kv");
/// Puts of one transaction: one each would cost it a commit each.
const PUTS_PER_TRANSACTION: usize = 1000;
/// Transactions of which one is flushed: its documentation asks for some, or space would never be used again.
const TRANSACTIONS_PER_FLUSH: u64 = 100;

/// See the module.
pub(super) struct Redb {
    puts: Puts,
    database: Arc<Database>,
    /// What reads see, and how many more do before they look at newer data.
    snapshot: Option<ReadOnlyTable<&'static [u8; 16], &'static [u8]>>,
    reads_left: u32,
}

/// Puts that wait for their transaction.
struct Puts {
    database: Arc<Database>,
    waiting: Vec<([u8; 16], Vec<u8>)>,
    transactions: u64,
}

impl Puts {
    fn new(database: Arc<Database>) -> Self {
        Self { database, waiting: Vec::with_capacity(PUTS_PER_TRANSACTION), transactions: 0 }
    }

    fn put(&mut self, key: u64, value: &[u8]) -> Result<(), BenchError> {
        self.waiting.push((key_of(key), value.to_vec()));
        if self.waiting.len() < PUTS_PER_TRANSACTION {
            return Ok(());
        }
        self.transactions += 1;
        self.commit(self.transactions.is_multiple_of(TRANSACTIONS_PER_FLUSH))
    }

    fn commit(&mut self, flush: bool) -> Result<(), BenchError> {
        let mut transact = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(if flush { Durability::Immediate } else { Durability::None })?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for (key, value) in self.waiting.drain(..) {
                    table.insert(&key, value.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        };
        transact().map_err(|error| failed("redb: a transaction", error))
    }
}

impl Redb {
    fn table(&mut self) -> Result<&ReadOnlyTable<&'static [u8; 16], &'static [u8]>, BenchError> {
        if self.reads_left == 0 {
            // The old one ends first: pages it sees are not used again.
            self.snapshot = None;
            self.reads_left = READS_PER_SNAPSHOT;
        }
        self.reads_left -= 1;
        if self.snapshot.is_none() {
            let open = || Ok::<_, redb::Error>(self.database.begin_read()?.open_table(TABLE)?);
            self.snapshot = Some(open().map_err(|error| failed("redb: beginning to read", error))?);
        }
        Ok(self.snapshot.as_ref().expect("invariant: made just now"))
    }
}

impl Engine for Redb {
    const NAME: &'static str = "redb";

    fn config(_: &KvArgs) -> Fields {
        Fields::new()
            .with("version", "4.5")
            .with("puts_per_transaction", PUTS_PER_TRANSACTION)
            .with("durability", "none; immediate once in so many transactions")
            .with("transactions_per_flush", TRANSACTIONS_PER_FLUSH)
            .with("wal", "none: pages are written once in so many transactions")
            .with("latency_of_a_put", "every 1000th carries the transaction")
            .with("reads", "through the page cache, emptied before readrandom-cold")
            .with("reads_per_snapshot", READS_PER_SNAPSHOT)
            .with("reads_in_flight", "one at a time: it has no batched read")
            .with("settled", "flushed; a B-tree has nothing to merge")
            .with("write_amplification", "every byte written")
            .with("readwhilewriting", "a thread writes, a thread reads")
    }

    fn open(dir: &Path, _: &KvArgs, cache_size: usize) -> Result<Self, BenchError> {
        let opened = Builder::new().set_cache_size(cache_size).create(dir.join("redb"));
        let database = Arc::new(opened.map_err(|error| failed("opening redb", error))?);
        // Readers need a table to be there.
        let mut puts = Puts::new(Arc::clone(&database));
        puts.commit(true)?;
        Ok(Self { puts, database, snapshot: None, reads_left: READS_PER_SNAPSHOT })
    }

    fn put(&mut self, key: u64, value: &[u8]) -> Result<(), BenchError> {
        self.puts.put(key, value)
    }

    fn get(&mut self, key: u64) -> Result<bool, BenchError> {
        let found = self.table()?.get(&key_of(key)).map_err(|error| failed("redb: a get", error))?;
        Ok(found.inspect(|value| _ = std::hint::black_box(value.value())).is_some())
    }

    fn scan(&mut self, from: u64, count: usize) -> Result<usize, BenchError> {
        let mut taken = Taken::new();
        let pairs = self.table()?.range::<&[u8; 16]>(&key_of(from)..).map_err(|error| failed("redb: a scan", error))?;
        for pair in pairs.take(count) {
            let (key, value) = pair.map_err(|error| failed("redb: a scan", error))?;
            taken.take(key.value(), value.value());
        }
        Ok(taken.count)
    }

    fn warm(&mut self, _: u64) -> Result<(), BenchError> {
        for pair in self.table()?.iter().map_err(|error| failed("redb: reading everything", error))? {
            std::hint::black_box(pair.map_err(|error| failed("redb: reading everything", error))?.1.value());
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), BenchError> {
        self.snapshot = None;
        self.puts.commit(true)
    }

    fn idle(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn writer(&mut self) -> Option<Writer> {
        let mut puts = Puts::new(Arc::clone(&self.database));
        Some(Box::new(move |key, value| puts.put(key, value)))
    }

    fn prewritten_size(&self) -> u64 {
        0
    }

    fn fill_figures(&self) -> Figures {
        Figures::new()
    }

    fn open_figures(&self) -> Figures {
        Vec::new()
    }

    fn recover(_: &Path, _: &KvArgs, _: u64) -> Result<Option<Figures>, BenchError> {
        Ok(None)
    }
}
