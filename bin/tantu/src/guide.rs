//! The pages of the guide as doc tests: every listing in them compiles and runs. Nothing else is here, and nothing of it
//! is in the library.

#[doc = include_str!("../../../docs/guide/start.md")]
mod start {}
#[doc = include_str!("../../../docs/guide/tutorial.md")]
mod tutorial {}
#[doc = include_str!("../../../docs/guide/paths.md")]
mod paths {}
#[doc = include_str!("../../../docs/guide/dataflow.md")]
mod dataflow {}
#[doc = include_str!("../../../docs/guide/aggregators.md")]
mod aggregators {}
#[doc = include_str!("../../../docs/guide/partitioners.md")]
mod partitioners {}
#[doc = include_str!("../../../docs/guide/depots.md")]
mod depots {}
#[doc = include_str!("../../../docs/guide/queries.md")]
mod queries {}
#[doc = include_str!("../../../docs/guide/streams.md")]
mod streams {}
#[doc = include_str!("../../../docs/guide/microbatches.md")]
mod microbatches {}
#[doc = include_str!("../../../docs/guide/acid.md")]
mod acid {}
#[doc = include_str!("../../../docs/guide/testing.md")]
mod testing {}
#[doc = include_str!("../../../docs/guide/clients.md")]
mod clients {}
#[doc = include_str!("../../../docs/guide/options.md")]
mod options {}
