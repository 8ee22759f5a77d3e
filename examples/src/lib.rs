//! One small module per file, run as tests.
