//! The foreign client: appends records to depots and reads PStates.
//!
//! A [`Connection`] is one port into a module's task threads, shared by any number of handles and threads. Requests go out in
//! order per partition, gathered into batches when many are out. Whoever waits drives the port: it takes in
//! what has arrived for everybody. Nothing here runs on a task thread.

mod acked;
mod connection;
mod depot;
mod error;
mod microbatch;
mod options;
mod pending;
mod port;
mod producer;
mod pstate;
mod query;
mod requests;
mod stream;

pub use acked::{AckReturns, Acked};
pub use connection::{Connection, StopText, WeakConnection};
pub use depot::{Depot, PageMax, PartitionOffsets, RecordPage};
pub use error::{Asked, ClientError, Outcome};
pub use microbatch::{FailingMicrobatch, Microbatch, MicrobatchSnapshot, MicrobatchStatus};
pub use options::ClientOptions;
pub use pending::{Pending, PendingAppend};
pub use port::{ReceiveHalf, SendHalf};
pub use producer::{NumberedRecord, PendingNumbered, Producer, ProducerState};
pub use pstate::PState;
pub use query::Query;
pub use stream::Stream;
pub use tantu_flow::{DeadLetter, TroubledRecord};
pub use tantu_net::letter::AckLevel;
