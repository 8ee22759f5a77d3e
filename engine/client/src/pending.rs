//! A request that is out.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::requests::Answer;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How an answer is read.
type Read<T> = fn(Answer) -> Result<T, ClientError>;

/// The result of a request, later: block with [`Pending::wait`], or await it. Dropping it does not undo the
/// request.
pub struct Pending<T> {
    connection: Connection,
    request: Option<u64>,
    read: Read<T>,
}

/// An append that is out; its result is the record's offset in its partition.
pub type PendingAppend = Pending<tantu_base::id::Offset>;

impl<T> Pending<T> {
    pub(crate) fn new(connection: Connection, request: u64, read: Read<T>) -> Self {
        Self { connection, request: Some(request), read }
    }

    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Panics
    /// If it was awaited to its end before.
    pub fn wait(mut self) -> Result<T, ClientError> {
        let request = self.request.take().expect("a request is answered once");
        let answer = self.connection.wait(request)?;
        (self.read)(answer)
    }

    /// Blocks until the answer is there, but not longer than for a time; none if it is not there by then. It can be asked
    /// again, and what was asked for stays out.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Panics
    /// If the answer was taken before.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<T, ClientError>> {
        let request = self.request.expect("a request is answered once");
        let result = self.connection.wait_for(request, timeout)?;
        self.request = None;
        Some(result.and_then(self.read))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.request.expect("a request is answered once");
        match self.connection.poll(request, context.waker()) {
            None => Poll::Pending,
            Some(result) => {
                self.request = None;
                Poll::Ready(result.and_then(self.read))
            }
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(request) = self.request {
            self.connection.forget(request);
        }
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pending({:?})", self.request)
    }
}
