//! Topologies drawn: what happens with a record or a call, where partitioners are and what crosses them, which PStates
//! are touched. As a picture (SVG), for graphviz, or as text.
//!
//! The same module always gives the same bytes. The layout is our own: layers by the longest way from the start, in each
//! layer the order with the fewest crossings that a few sweeps find, lines that run between boxes only.

mod chart;
mod dot;
mod layout;
mod order;
mod route;
mod svg;
mod text;

use chart::Chart;
use std::fmt;
use tantu_flow::ModuleDef;

/// How a drawing is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A picture of its own, for light and dark pages.
    Svg,
    /// For graphviz.
    Dot,
    /// For a terminal.
    Text,
}

/// No drawing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GraphError {
    /// No module has a topology of this name.
    UnknownTopology {
        /// What was asked for.
        name: String,
        /// What there is, as `Module/topology`.
        known: Vec<String>,
    },
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GraphError::UnknownTopology { name, known } = self;
        let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
        write!(f, "there is no topology `{name}`; there is {known}")
    }
}

impl std::error::Error for GraphError {}

/// Draws the topologies of modules, or those of one name: `counter`, or `WordCount/counter` where several modules have one.
///
/// ```
/// use tantu::{demo::WordCount, flow::define, graph};
///
/// let module = define::<WordCount>()?;
/// let text = graph::draw(&[module], Some("counter"), graph::Format::Text)?;
/// assert!(text.contains("hash_partition(v2)") && text.contains("carries v2: str"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// There is no such topology.
pub fn draw(modules: &[ModuleDef], topology: Option<&str>, format: Format) -> Result<String, GraphError> {
    let charts: Vec<Chart> = modules.iter().flat_map(chart::charts).collect();
    let known: Vec<String> = charts.iter().map(Chart::path).collect();
    let wanted: Vec<Chart> = match topology {
        None => charts,
        Some(name) => charts.into_iter().filter(|chart| chart.name == name || chart.path() == name).collect(),
    };
    if let (true, Some(name)) = (wanted.is_empty(), topology) {
        return Err(GraphError::UnknownTopology { name: name.to_string(), known });
    }
    Ok(match format {
        Format::Svg => svg::write(&wanted),
        Format::Dot => dot::write(&wanted),
        Format::Text => text::write(&wanted),
    })
}

#[cfg(test)]
mod tests;
