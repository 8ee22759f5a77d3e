//! Names that are claimed: of all who claim one, one has it, and each was told the truth.

use std::collections::BTreeMap;
use std::fmt;

/// What cannot be about names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ClaimLie {
    /// Somebody has a name who did not claim it.
    Usurped {
        /// The name.
        name: String,
        /// Whose it is.
        owner: i64,
    },
    /// Who claimed a name was told something else than what became of it.
    Told {
        /// The name.
        name: String,
        /// Who claimed it.
        claim: i64,
        /// What the claimant was told: whether the name is theirs.
        answer: bool,
        /// Whose it is.
        owner: Option<i64>,
    },
}

impl fmt::Display for ClaimLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimLie::Usurped { name, owner } => write!(f, "{name:?} belongs to {owner}, who did not claim it"),
            ClaimLie::Told { name, claim, answer, owner } => {
                write!(f, "{claim} claimed {name:?} and was told {answer}; it belongs to {owner:?}")
            }
        }
    }
}

/// Claims: who claims which name, and what each was told, if anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    names: BTreeMap<i64, String>,
    told: BTreeMap<i64, bool>,
}

impl Claims {
    /// Notes a claim.
    pub fn claim(&mut self, claim: i64, name: &str) {
        self.names.insert(claim, name.to_string());
    }

    /// Notes what a claimant was told.
    pub fn told(&mut self, claim: i64, answer: bool) {
        self.told.insert(claim, answer);
    }

    /// How many were told something.
    pub fn told_count(&self) -> usize {
        self.told.len()
    }

    /// Everything that is wrong with who has the names in the end.
    pub fn judge(&self, owners: &BTreeMap<String, i64>) -> Vec<ClaimLie> {
        let usurped = owners.iter().filter(|(name, owner)| self.names.get(owner) != Some(name));
        let usurped = usurped.map(|(name, owner)| ClaimLie::Usurped { name: name.clone(), owner: *owner });
        let told = self.told.iter().filter_map(|(claim, answer)| {
            let name = self.names.get(claim).cloned().unwrap_or_default();
            let owner = owners.get(&name).copied();
            let is_true = owner.is_some() && (owner == Some(*claim)) == *answer;
            (!is_true).then_some(ClaimLie::Told { name, claim: *claim, answer: *answer, owner })
        });
        usurped.chain(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_a_name_and_everybody_was_told_so() {
        let mut claims = Claims::default();
        [(1, "a"), (2, "a"), (3, "b")].iter().for_each(|(claim, name)| claims.claim(*claim, name));
        claims.told(1, false);
        claims.told(2, true);
        let of = |all: &[(&str, i64)]| all.iter().map(|(name, owner)| (name.to_string(), *owner)).collect();
        assert_eq!(claims.judge(&of(&[("a", 2), ("b", 3)])), []);
        assert_eq!(claims.judge(&of(&[("a", 1)])).len(), 2, "both were told otherwise");
        assert_eq!(claims.judge(&of(&[])).len(), 2, "nobody has it");
        let usurped = claims.judge(&of(&[("a", 2), ("b", 1)]));
        assert_eq!(usurped, [ClaimLie::Usurped { name: "b".to_string(), owner: 1 }]);
        assert!(usurped[0].to_string().contains("\"b\" belongs to 1"));
        assert_eq!(claims.told_count(), 2);
    }
}
