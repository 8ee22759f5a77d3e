//! What the machine must offer, checked before anything starts: one clear sentence each.

use std::io;

/// Why cores cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Rings need locked memory.
    #[error(
        "the limit of locked memory is {have_kib} KiB, and {need_kib} KiB are needed for {threads} threads: raise it with `ulimit -l {need_kib}` (systemd: LimitMEMLOCK=)"
    )]
    Memlock {
        /// The limit, in KiB.
        have_kib: u64,
        /// What is needed, in KiB.
        need_kib: u64,
        /// For how many threads.
        threads: usize,
    },
    /// The kernel has no io_uring.
    #[error("this kernel ({release}) has no io_uring: Linux 5.15 or newer is needed")]
    NoIoUring {
        /// Its release.
        release: String,
    },
    /// io_uring is forbidden.
    #[error(
        "io_uring is forbidden here: allow the system calls io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile, or set `sysctl kernel.io_uring_disabled=0`"
    )]
    Forbidden,
    /// The kernel is too old for something that is needed.
    #[error("this kernel ({release}) is too old: Linux 5.15 or newer is needed")]
    OldKernel {
        /// Its release.
        release: String,
    },
    /// A ring could not be made for another reason.
    #[error("cannot set up io_uring: {0}")]
    Ring(io::Error),
    /// A core's loop could not be started.
    #[error("cannot start the loop of core {core}: {error}")]
    Core {
        /// Which one.
        core: usize,
        /// What the executor says.
        error: String,
    },
}

/// Oldest kernel that works.
const KERNEL_MIN: (u32, u32) = (5, 15);
/// Locked memory of one core: its executor's rings and its disk ring, in KiB.
const MEMLOCK_PER_CORE_KIB: u64 = 512;

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn is_old(release: &str) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor) < KERNEL_MIN,
        _ => false,
    }
}

/// Files that may be open before it is worth a warning: each table of at most 16 MiB has one, so this is some 60 GiB.
const OPEN_FILE_COUNT_WANTED: u64 = 4_096;

/// Lets the process have as many files open as it may. Tables stay open, so the usual soft limit of 1,024 is soon reached.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_less = match (current, maximum) {
        (Some(current), Some(maximum)) => current < maximum,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let raised = is_less && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    if let Some(limit) = limit.filter(|limit| *limit < OPEN_FILE_COUNT_WANTED) {
        tracing::warn!(
            limit,
            "few files may be open: raise it with `ulimit -n` (systemd: LimitNOFILE=), tables need one for each 16 MiB"
        );
    }
}

/// Turns what `io_uring_setup` answers into a sentence.
pub(crate) fn ring_error(error: io::Error, threads: usize) -> StartError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => StartError::NoIoUring { release: release() },
        Some(libc::EPERM | libc::EACCES) => StartError::Forbidden,
        Some(libc::ENOMEM) => memlock(threads).unwrap_or(StartError::Ring(error)),
        Some(libc::EINVAL) if is_old(&release()) => StartError::OldKernel { release: release() },
        _ => StartError::Ring(error),
    }
}

fn memlock(threads: usize) -> Option<StartError> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let have_kib = rustix::process::getrlimit(rustix::process::Resource::Memlock).current? / 1024;
    let need_kib = MEMLOCK_PER_CORE_KIB * threads as u64;
    (have_kib < need_kib).then_some(StartError::Memlock { have_kib, need_kib, threads })
}

/// Checks that cores can be started here.
///
/// # Errors
/// [`StartError`], a sentence that says what to do.
pub fn preflight(threads: usize) -> Result<(), StartError> {
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Memlock).current
        && limit / 1024 < MEMLOCK_PER_CORE_KIB
    {
        // The executor refuses below this even for root.
        let need_kib = MEMLOCK_PER_CORE_KIB * threads as u64;
        return Err(StartError::Memlock { have_kib: limit / 1024, need_kib, threads });
    }
    if let Some(error) = memlock(threads) {
        return Err(error);
    }
    raise_open_files();
    if is_old(&release()) {
        return Err(StartError::OldKernel { release: release() });
    }
    io_uring::IoUring::new(8).map(drop).map_err(|error| ring_error(error, threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_hard_limit_says() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
        preflight(1).unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }

    #[test]
    fn each_refusal_of_the_kernel_has_its_own_sentence() {
        let text = |errno| ring_error(io::Error::from_raw_os_error(errno), 2).to_string();
        assert!(text(libc::ENOSYS).contains("has no io_uring"));
        assert!(text(libc::EPERM).contains("seccomp"));
        assert!(text(libc::EMFILE).contains("cannot set up io_uring"));
        assert!(is_old("5.4.0-generic") && !is_old("5.15.1") && !is_old("6.18.44-x"));
    }

    #[test]
    fn this_machine_passes() {
        preflight(1).unwrap();
    }
}
