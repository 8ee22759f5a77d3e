//! The task thread: category queues, turns, runners, the commit pipeline.
