//! Paths over plain collections, written from the table of navigators.
//!
//! A navigator takes a value apart into places and says how the whole is put together from what became of them
//! (`apart`). A select looks at the places, a transform changes them (`follow`). Null is an empty collection of
//! whatever kind is wanted; void is a place where there is nothing, and what becomes void is not there any more.

mod apart;
mod data;
mod follow;
mod step;

pub use data::{Data, Fault, Place};
pub use follow::{select, transform};
pub use step::{Compare, Function, Path, Range, Step};

#[cfg(test)]
mod tests {
    use super::*;

    fn int(n: i64) -> Data {
        Data::Int(n)
    }

    fn list(of: &[i64]) -> Data {
        Data::List(of.iter().copied().map(int).collect())
    }

    fn map(of: &[(i64, i64)]) -> Data {
        Data::map(of.iter().map(|(key, value)| (int(*key), int(*value))))
    }

    const ADD_ONE: Function = Function {
        name: "add_one",
        call: |given| match given {
            [Data::Int(n)] => Some(Data::Int(n + 1)),
            _ => None,
        },
    };

    #[test]
    fn a_key_is_a_place_also_where_there_is_none_and_void_removes_it() {
        assert_eq!(select(&[Step::Key(int(2))], &map(&[(1, 5)])), Ok(vec![Data::Null]));
        assert_eq!(select(&[Step::Must(int(2))], &map(&[(1, 5)])), Ok(vec![]));
        let put = |value: Step| vec![Step::Key(int(1)), Step::Key(int(2)), value];
        let made = Data::map([(int(1), map(&[(2, 7)]))]);
        assert_eq!(transform(&put(Step::TermVal(int(7))), Data::Null), Ok(made.clone()));
        assert_eq!(transform(&put(Step::TermVoid), made), Ok(Data::map([(int(1), map(&[]))])));
        assert_eq!(transform(&put(Step::TermVoid), Data::Null), Ok(Data::Null), "nothing is created to hold nothing");
        assert!(transform(&[Step::TermVoid], int(1)).is_err());
    }

    #[test]
    fn elements_of_a_subselect_go_back_to_where_they_came_from() {
        let nested = Data::map([(int(1), list(&[1, 9, 2])), (int(2), list(&[8]))]);
        let large = vec![Step::MapVals, Step::All, Step::Filter(Compare::Greater, int(5))];
        let path = [Step::Subselect(large), Step::TermVal(list(&[100]))];
        let after = Data::map([(int(1), list(&[1, 100, 2])), (int(2), list(&[]))]);
        assert_eq!(transform(&path, nested), Ok(after));
    }

    #[test]
    fn branches_have_their_own_lists_of_what_is_set_aside_and_see_what_earlier_ones_made() {
        let ways = vec![vec![Step::PutCollected(int(7)), Step::Key(int(1))], vec![Step::Key(int(1))]];
        let found = select(&[Step::Multi(ways)], &map(&[(1, 5)]));
        assert_eq!(found, Ok(vec![Data::pair(int(7), int(5)), int(5)]));
        let twice = Step::Multi(vec![vec![Step::Key(int(1))], vec![Step::Key(int(1))]]);
        assert_eq!(transform(&[twice, Step::Term(ADD_ONE, vec![])], map(&[(1, 5)])), Ok(map(&[(1, 7)])));
    }

    #[test]
    fn a_range_with_a_limit_keeps_what_is_nearest_its_anchor() {
        let range = Range { from: None, to: Some((int(4), false)), first: None, last: Some(2) };
        let five = map(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        assert_eq!(select(&[Step::MapRange(range.clone())], &five), Ok(vec![map(&[(2, 2), (3, 3)])]));
        let cut = transform(&[Step::MapRange(range), Step::TermVoid], five);
        assert_eq!(cut, Ok(map(&[(1, 1), (4, 4), (5, 5)])));
    }

    #[test]
    fn a_condition_is_asked_no_further_than_its_first_result() {
        let mixed = Data::List(vec![map(&[(1, 1)]), int(3)]);
        let each_key = vec![Step::All, Step::Must(int(1))];
        assert_eq!(select(&[Step::Selected(each_key.clone())], &mixed), Ok(vec![mixed.clone()]));
        assert!(select(&each_key, &mixed).is_err());
    }
}
