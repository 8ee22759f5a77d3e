//! A client's handle of a query topology.

use crate::connection::Connection;
use crate::error::ClientError;
use crate::pending::Pending;
use crate::requests::Want;
use std::marker::PhantomData;
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_base::value::Reader;
use tantu_flow::{ArgumentValues, Owned, Run, var_type};
use tantu_net::letter::Letter;

/// A query that takes a tuple `A` and returns an `R`. Each of its events sees what is committed on its task.
pub struct Query<A, R> {
    connection: Connection,
    index: usize,
    of: PhantomData<fn(&A) -> R>,
}

impl<A, R> Clone for Query<A, R> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), index: self.index, of: PhantomData }
    }
}

impl<A, R> std::fmt::Debug for Query<A, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Query({})", self.connection.module().def.queries[self.index].name)
    }
}

impl<A: ArgumentValues, R: Owned> Query<A, R> {
    /// The handle of a query by its name.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], or [`ClientError::Refused`] if it takes or returns something else.
    pub fn new(connection: &Connection, name: &str) -> Result<Self, ClientError> {
        let def = &connection.module().def;
        let Some(index) = def.queries.iter().position(|query| query.name == name) else {
            let known = def.queries.iter().map(|query| query.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ClientError::Unknown {
                module: def.name.clone(),
                kind: "query",
                name: name.to_string(),
                known,
            });
        };
        let query = &def.queries[index];
        let (given, wanted) = (A::types(), var_type::<R>());
        if query.inputs != given || query.output != wanted {
            let declared = format!("({}) -> {}", query.inputs.join(", "), query.output);
            let text = format!("the query {name} is {declared}, not ({}) -> {wanted}", given.join(", "));
            return Err(ClientError::Refused(text));
        }
        Ok(Self { connection: connection.clone(), index, of: PhantomData })
    }

    /// Calls the query and waits for its result.
    ///
    /// # Errors
    /// [`ClientError`]; nothing is called again by itself.
    pub fn invoke(&self, arguments: &A) -> Result<R, ClientError> {
        self.invoke_async(arguments)?.wait()
    }

    /// Calls the query; the result comes later.
    ///
    /// # Errors
    /// [`ClientError`] if the call is refused before it is sent.
    pub fn invoke_async(&self, arguments: &A) -> Result<Pending<R>, ClientError> {
        let mut bytes = Vec::new();
        arguments.encode(&mut bytes);
        if bytes.len() > RECORD_SIZE_MAX {
            let text = format!("the arguments have {} bytes, the most is {RECORD_SIZE_MAX}", bytes.len());
            return Err(ClientError::Refused(text));
        }
        let module = self.connection.module();
        let def = &module.def.queries[self.index];
        let leading = Run::new()
            .leading_task(&def.plan, def.at, &bytes, module.task_count)
            .map_err(|error| ClientError::Refused(error.to_string()))?;
        let task = leading.unwrap_or_else(|| self.connection.any_task());
        let (query, arguments) = (self.index as u16, &bytes[..]);
        let own = def.options.timeout.map(|own| own.saturating_add(own / 2));
        let want = Want::Call(self.connection.options().query_timeout.max(own.unwrap_or_default()));
        let request = self.connection.send(task, want, |request| Letter::Invoke { task, request, query, arguments });
        Ok(Pending::new(self.connection.clone(), request, |answer| {
            let answer = answer.into_more();
            let mut reader = Reader::new(&answer.rows);
            Ok(R::decode(&mut reader)?)
        }))
    }
}
