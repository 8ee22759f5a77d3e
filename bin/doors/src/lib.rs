//! The real doors: a glommio loop per core, an io_uring disk, kernel clock and entropy.
