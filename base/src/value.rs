//! placeholder replaced by the value codec.
