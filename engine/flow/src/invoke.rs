//! Calling a query of the module from any of its topologies, and state that lives as long as a call.

use crate::batch::BatchBlock;
use crate::block::Block;
use crate::data::{Data, Register};
use crate::define::{Defining, Place, here};
use crate::module::PState;
use crate::query::Arguments;
use crate::step::Step;
use crate::var::{AnyVar, Var};
use tantu_path::{PStateSchema, Schema};

/// Places of PStates from here on are temporary ones.
pub(crate) const FIRST_TEMPORARY: usize = 1 << 30;

/// State of a query that lives as long as a call.
pub(crate) struct Temporary {
    pub(crate) name: String,
    pub(crate) schema: Schema,
    /// The code that may use it.
    pub(crate) source: u32,
}

/// A query that some code calls: checked when the whole module is known.
pub(crate) struct Invoked {
    place: Place,
    query: String,
    inputs: Vec<&'static str>,
    output: &'static str,
}

impl Block {
    /// Calls a query of the module, which starts on this task, and goes on here with its result. What the code below still
    /// needs waits in memory meanwhile. A call that fails, or takes too long, fails the event. A query may call itself.
    ///
    /// ```
    /// use tantu_flow::{Module, Setup, Topologies, Var, define};
    ///
    /// struct Factorials;
    /// impl Module for Factorials {
    ///     fn define(_: &mut Setup, topologies: &mut Topologies) {
    ///         topologies.query("factorial", |q, (n,): (Var<i64>,)| {
    ///             let more = q.each(n, |n| n > 1);
    ///             let value = q.if_else(
    ///                 more,
    ///                 |b| {
    ///                     let before = b.each(n, |n| n - 1);
    ///                     let rest: Var<i64> = b.invoke_query("factorial", (before,));
    ///                     b.each((n, rest), |(n, rest)| n * rest)
    ///                 },
    ///                 |b| b.constant(1i64),
    ///             );
    ///             q.origin_partition();
    ///             value
    ///         });
    ///     }
    /// }
    /// assert!(define::<Factorials>().is_ok());
    /// ```
    #[track_caller]
    pub fn invoke_query<A: Arguments, O: Data + ?Sized>(&mut self, query: &str, arguments: A) -> Var<O> {
        let uses = self.uses(arguments);
        let mut registers = Vec::new();
        arguments.list(&mut |var: AnyVar| registers.push(var.register));
        let out = self.bind::<O>("invoke_query");
        self.defining.borrow_mut().invoked.push(Invoked {
            place: here(),
            query: query.to_string(),
            inputs: registers.iter().map(Register::type_name).collect(),
            output: Register::new::<O>(out.id).type_name(),
        });
        let step = Step::Invoke { query: query.to_string(), arguments: registers, position: 0 };
        self.push(step, format!("invoke_query {query}"), uses, vec![out.id]);
        out
    }
}

impl BatchBlock {
    /// State of a query that lives as long as a call: a partition on each task, in memory, which starts empty and is read
    /// and written like a PState by the code of this query alone. Which key lives where is the author's affair.
    ///
    /// ```
    /// use tantu_flow::{Module, Setup, Topologies, Var, define};
    /// use tantu_path::{Map, Navigate, agg, path};
    ///
    /// struct Letters;
    /// impl Module for Letters {
    ///     fn define(_: &mut Setup, topologies: &mut Topologies) {
    ///         topologies.query("distinct", |q, (text,): (Var<str>,)| {
    ///             let seen = q.temporary::<Map<String, i64>>();
    ///             let letter = q.explode(text, |text| text.chars().map(|c| c.to_string()).collect::<Vec<_>>());
    ///             q.hash_partition(letter);
    ///             q.compound_agg(seen, agg::key(letter, agg::count()));
    ///             let times = q.local_select(seen, path().key(letter).null_to_val(0));
    ///             q.filter(times, |times| times == 1);
    ///             q.origin_partition();
    ///             q.agg::<i64>(agg::count())
    ///         });
    ///     }
    /// }
    /// assert!(define::<Letters>().is_ok());
    /// ```
    #[track_caller]
    pub fn temporary<S: PStateSchema>(&mut self) -> PState<S> {
        if !self.is_query() {
            self.block.mistake("temporary state is that of a call of a query".to_string());
        }
        let schema = S::schema();
        if let Err(error) = schema.check_declared() {
            self.block.mistake(format!("temporary state: {error}"));
        }
        let mut defining = self.block.defining.borrow_mut();
        let name = format!("temporary state {}", defining.temporaries.len());
        defining.temporaries.push(Temporary { name, schema, source: self.block.source });
        PState::at(FIRST_TEMPORARY + defining.temporaries.len() - 1)
    }
}

impl Defining {
    /// Each query that is called exists, and takes and returns what the callers say.
    pub(crate) fn check_invoked(&mut self) {
        for Invoked { place, query, inputs, output } in std::mem::take(&mut self.invoked) {
            let what = match self.signature(&query) {
                None => format!("the module has no query `{query}`"),
                Some((takes, returns)) if takes != inputs || returns != output => format!(
                    "the query `{query}` is ({}) -> {returns}, not ({}) -> {output}",
                    takes.join(", "),
                    inputs.join(", "),
                ),
                Some(_) => continue,
            };
            self.error(place, what);
        }
    }
}
