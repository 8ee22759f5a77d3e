//! A JSON object whose fields keep the order they were given in: a person reads these lines too.

use serde_json::Value;
use std::fmt;

/// See the module. Values are kept as the text they are printed as.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into().to_string()));
        self
    }

    /// An object in it.
    #[must_use]
    pub(crate) fn with_object(mut self, name: &'static str, object: &Fields) -> Self {
        self.0.push((name, object.to_string()));
        self
    }

    /// An array of objects in it.
    #[must_use]
    pub(crate) fn with_objects(mut self, name: &'static str, objects: &[Fields]) -> Self {
        let texts: Vec<String> = objects.iter().map(|object| format!("\n{object}")).collect();
        self.0.push((name, format!("[{}\n]", texts.join(","))));
        self
    }

    /// The fields of both.
    #[must_use]
    pub(crate) fn and(mut self, other: Fields) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (name, value)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{}:{value}", Value::from(*name))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_json_in_the_order_they_were_given() {
        let inner = Fields::new().with("z", "a \"quoted\" word").with("a", 1.5);
        let fields = Fields::new().with("suite", "kv").with_object("config", &inner).and(Fields::new().with("b", 7));
        let text = fields.to_string();
        assert_eq!(text, r#"{"suite":"kv","config":{"z":"a \"quoted\" word","a":1.5},"b":7}"#);
        let all = Fields::new().with_objects("lines", &[inner, fields]).to_string();
        let parsed: Value = serde_json::from_str(&all).expect("it is JSON");
        assert_eq!(parsed["lines"][1]["config"]["z"], "a \"quoted\" word");
    }
}
