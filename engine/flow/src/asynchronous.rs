//! Waiting for work elsewhere without holding the task: `each_async`.
//!
//! The event ends; the future runs on a thread of its own kind, outside the task thread; its answer is the start of a new
//! event of the same task. What the code below still needs waits in memory and is lost in a crash: the record is then
//! tried again. A future that fails, or takes longer than the topology's time-out, fails the record.

use crate::block::{Block, read};
use crate::data::{Owned, Returned};
use crate::slot::Frame;
use crate::step::Step;
use crate::var::{Var, Vars};
use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tantu_base::door::Job;
use tantu_base::value::encoded;

impl Block {
    /// Calls a function that returns a future, and goes on on this task with what it resolves to. The future takes what
    /// it needs with it; it cannot borrow from the event.
    ///
    /// ```
    /// use tantu_flow::{TestBlock, Var};
    /// let block = TestBlock::new(|b, n: Var<i64>| {
    ///     let answer = b.each_async(n, |n| async move { if n > 0 { Ok(n * 2) } else { Err("not positive") } });
    ///     b.each((n, answer), |(n, answer)| format!("{n} {answer}"))
    /// });
    /// let mut seen = Vec::new();
    /// block.run(&4i64, |text| seen.push(text.to_string())).unwrap();
    /// assert_eq!(seen, ["4 8"]);
    /// assert!(block.run(&-4i64, |_| {}).unwrap_err().to_string().contains("not positive"));
    /// ```
    #[track_caller]
    pub fn each_async<I: Vars, F, R, E>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>) -> F + Send + Sync + 'static,
    ) -> Var<<R as Returned>::Data>
    where
        F: Future<Output = Result<R, E>> + Send + 'static,
        R: Owned,
        E: Display,
    {
        let uses = self.uses(inputs);
        let out = self.bind::<<R as Returned>::Data>("each_async");
        let job = move |frame: &Frame| -> Job {
            let future = function(read(&inputs, frame));
            Box::new(move || match wait_for(future) {
                Ok(answer) => Ok(encoded(&answer)),
                Err(error) => Err(error.to_string()),
            })
        };
        self.push(Step::Await { job: Box::new(job), position: 0 }, "each_async", uses, vec![out.id]);
        out
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread, which sleeps while there is nothing to do.
fn wait_for<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}
