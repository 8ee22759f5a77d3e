//! Depot and PState partitions over the log and the tree.
