//! How a device makes a write durable, in the fewest steps of the kernel.
//!
//! A device without a volatile cache, or one that can write through it, does so with the write (`RWF_DSYNC`). Another has to
//! be flushed behind the write. With `RWF_DSYNC` the kernel does that in a worker bound to the processor that has the
//! device's interrupts, where it waits behind whoever is busy there, for the milliseconds of a time slice. A flush of its own,
//! linked behind the write, is done by a worker of the ring, on any processor.

use rustix::fs::Dev;
use std::collections::BTreeMap;
use std::path::Path;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flush {
    /// With the write.
    Through,
    /// Behind the write.
    Behind,
}

/// What is known of devices.
#[derive(Debug, Default)]
pub(super) struct Devices {
    known: BTreeMap<Dev, Flush>,
}

impl Devices {
    /// How writes to files of a device are made durable. Looked up once.
    pub(super) fn flush(&mut self, device: Dev) -> Flush {
        *self.known.entry(device).or_insert_with(|| {
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            look_up(&Path::new("/sys/dev/block").join(format!("{major}:{minor}")))
        })
    }
}

/// What the kernel tells of a block device, or of the one it is a partition of. Of a device it tells nothing about, and of a
/// file system on several, the answer that is right for all of them.
fn look_up(device: &Path) -> Flush {
    let read = |name: &str| {
        let of = |queue: &str| std::fs::read_to_string(device.join(queue).join(name));
        of("queue").or_else(|_| of("../queue")).unwrap_or_default()
    };
    let through = read("write_cache").trim() == "write through" || read("fua").trim() == "1";
    if through { Flush::Through } else { Flush::Behind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(write_cache: &str, fua: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("queue")).expect("it is made");
        std::fs::create_dir_all(dir.path().join("partition")).expect("it is made");
        for (name, text) in [("write_cache", write_cache), ("fua", fua)] {
            std::fs::write(dir.path().join("queue").join(name), text).expect("it is written");
        }
        dir
    }

    #[test]
    fn only_a_device_that_needs_no_flush_or_writes_through_is_not_flushed_behind_a_write() {
        for (write_cache, fua, flush) in [
            ("write back\n", "0\n", Flush::Behind),
            ("write back\n", "1\n", Flush::Through),
            ("write through\n", "0\n", Flush::Through),
        ] {
            let dir = device(write_cache, fua);
            assert_eq!(look_up(dir.path()), flush, "{write_cache}{fua}");
            assert_eq!(look_up(&dir.path().join("partition")), flush, "of its partition");
        }
        assert_eq!(look_up(Path::new("/nowhere")), Flush::Behind);
    }
}
