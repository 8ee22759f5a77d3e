//! A bank: money moves between accounts, and none is made or lost.
//!
//! Every account starts empty and may be overdrawn, so what an account has is the sum of its transfers in any order, and all
//! accounts together have nothing, whatever happened: more or less is money that was made or lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What accounts have.
pub type Funds = BTreeMap<String, i64>;

/// Money that moves from one account to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Who pays.
    pub from: String,
    /// Who is paid.
    pub to: String,
    /// How much.
    pub amount: i64,
}

/// What cannot be about some accounts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BankLie {
    /// All accounts together have something.
    Sum(i64),
    /// An account has not what its transfers say.
    Account {
        /// Whose.
        name: String,
        /// What it has.
        found: i64,
        /// What it should have.
        expected: i64,
    },
}

impl fmt::Display for BankLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BankLie::Sum(sum) => write!(f, "all accounts together have {sum}, not nothing"),
            BankLie::Account { name, found, expected } => {
                write!(f, "the account {name:?} has {found}, and should have {expected}")
            }
        }
    }
}

/// What accounts have after these transfers, in whatever order they were made.
pub fn funds(transfers: impl IntoIterator<Item = Transfer>) -> Funds {
    let mut funds = Funds::new();
    for Transfer { from, to, amount } in transfers {
        *funds.entry(from).or_default() -= amount;
        *funds.entry(to).or_default() += amount;
    }
    funds
}

/// Everything that is wrong after these transfers, each of which was made once.
pub fn judge(transfers: impl IntoIterator<Item = Transfer>, found: &Funds) -> Vec<BankLie> {
    let expected = funds(transfers);
    let sum: i64 = found.values().sum();
    let mut lies: Vec<BankLie> = (sum != 0).then_some(BankLie::Sum(sum)).into_iter().collect();
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let of = |funds: &Funds, name: &String| funds.get(name).copied().unwrap_or_default();
    let wrong = names.into_iter().map(|name| (name, of(found, name), of(&expected, name)));
    let wrong = wrong.filter(|(_, found, expected)| found != expected);
    lies.extend(wrong.map(|(name, found, expected)| BankLie::Account { name: name.clone(), found, expected }));
    lies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfers() -> Vec<Transfer> {
        let all = [("a", "b", 5), ("b", "c", 7), ("c", "c", 9), ("a", "b", 5)];
        all.map(|(from, to, amount)| Transfer { from: from.into(), to: to.into(), amount }).to_vec()
    }

    fn of(all: &[(&str, i64)]) -> Funds {
        all.iter().map(|(name, funds)| (name.to_string(), *funds)).collect()
    }

    #[test]
    fn accounts_have_the_sum_of_their_transfers() {
        let right = of(&[("a", -10), ("b", 3), ("c", 7)]);
        assert_eq!(funds(transfers()), right);
        assert_eq!(judge(transfers(), &right), []);
    }

    #[test]
    fn half_a_transfer_is_caught_by_the_sum_and_by_its_account() {
        let lies = judge(transfers(), &of(&[("a", -10), ("b", 3)]));
        assert_eq!(lies, [BankLie::Sum(-7), BankLie::Account { name: "c".into(), found: 0, expected: 7 }]);
        assert!(lies[0].to_string().contains("together have -7") && lies[1].to_string().contains("should have 7"));
    }

    #[test]
    fn a_transfer_that_was_made_twice_or_never_is_caught_though_the_sum_is_right() {
        let twice = judge(transfers(), &of(&[("a", -15), ("b", 8), ("c", 7)]));
        let never = judge(transfers(), &of(&[("a", -10), ("b", 10)]));
        for lies in [twice, never] {
            assert!(lies.len() == 2 && lies.iter().all(|lie| matches!(lie, BankLie::Account { .. })), "{lies:?}");
        }
    }
}
