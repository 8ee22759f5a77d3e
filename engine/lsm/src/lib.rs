//! Ordered bytes with versions: memtable, tables, manifest, compaction, block cache.
