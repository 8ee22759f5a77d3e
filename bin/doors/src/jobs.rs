//! Jobs on one helper thread per core, started with the first job.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tantu_base::caught::caught;
use tantu_base::door::{Job, JobDone, Jobs, Token};
use tantu_net::Bell;

/// Most jobs of a core that are not done.
const JOB_COUNT_MAX: usize = 1_024;

/// See the module.
pub struct ThreadJobs {
    bell: Arc<dyn Bell>,
    work: Option<Sender<(Token, Job)>>,
    answers: Option<Receiver<JobDone>>,
    outstanding: usize,
}

impl std::fmt::Debug for ThreadJobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ThreadJobs({} outstanding)", self.outstanding)
    }
}

impl ThreadJobs {
    /// Rings the core's bell when a job is done.
    pub fn new(bell: Arc<dyn Bell>) -> Self {
        Self { bell, work: None, answers: None, outstanding: 0 }
    }

    fn start_thread(&mut self) -> &Sender<(Token, Job)> {
        let bell = Arc::clone(&self.bell);
        let answers = &mut self.answers;
        self.work.get_or_insert_with(|| {
            let (work, todo) = channel::<(Token, Job)>();
            let (answer, done) = channel();
            *answers = Some(done);
            std::thread::spawn(move || {
                for (token, job) in todo {
                    let result = caught(job).unwrap_or_else(|text| Err(format!("user code panicked: {text}")));
                    if answer.send(JobDone { token, result }).is_err() {
                        break;
                    }
                    bell.ring();
                }
            });
            work
        })
    }
}

impl Jobs for ThreadJobs {
    fn start(&mut self, token: Token, job: Job) -> Result<(), Job> {
        if self.outstanding >= JOB_COUNT_MAX {
            return Err(job);
        }
        match self.start_thread().send((token, job)) {
            Ok(()) => {
                self.outstanding += 1;
                Ok(())
            }
            Err(refused) => Err(refused.0.1),
        }
    }

    fn reap(&mut self, done: &mut Vec<JobDone>) {
        let Some(answers) = &self.answers else { return };
        while let Ok(answer) = answers.try_recv() {
            self.outstanding -= 1;
            done.push(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Count(AtomicUsize);
    impl Bell for Count {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_job_answers_with_a_ring_and_a_panic_is_an_error() {
        let bell = Arc::new(Count(AtomicUsize::new(0)));
        let mut jobs = ThreadJobs::new(bell.clone());
        let token = |tag| Token { owner: 1, tag };
        assert!(jobs.start(token(1), Box::new(|| Ok(b"answer".to_vec()))).is_ok());
        assert!(jobs.start(token(2), Box::new(|| panic!("on purpose"))).is_ok());
        let mut done = Vec::new();
        while done.len() < 2 {
            jobs.reap(&mut done);
            std::thread::yield_now();
        }
        assert_eq!(done[0].result, Ok(b"answer".to_vec()));
        assert_eq!(done[1].result, Err("user code panicked: on purpose".to_string()));
        while bell.0.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
    }
}
