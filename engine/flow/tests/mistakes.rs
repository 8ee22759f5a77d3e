//! What is wrong with a block is said when it is defined, with the author's line.

#![allow(clippy::unwrap_used, reason = "a test")]

use tantu_flow::{Anchor, Block, TestBlock, Var};

/// Everything wrong with a block.
fn mistakes(body: impl FnOnce(&mut Block, Var<i64>)) -> String {
    TestBlock::define(|_| (), |b, (), n: Var<i64>| body(b, n)).expect_err("it has mistakes").to_string()
}

#[test]
fn a_var_bound_in_one_branch_only_is_named_with_the_line_that_bound_it() {
    let mut bound_at = 0;
    let text = mistakes(|b, n| {
        let even = b.each(n, |n| n % 2 == 0);
        let mut inner = None;
        b.if_true(even, |b| {
            bound_at = line!() + 1;
            let half = b.each(n, |n| n / 2);
            inner = Some(b.name(half, "*half"));
        });
        b.each(inner.unwrap(), |half| half + 1);
    });
    assert!(text.contains("`*half`") && text.contains(&format!("mistakes.rs:{bound_at}")), "{text}");
    assert!(text.contains("attach point missing needed var"), "{text}");
}

#[test]
fn code_after_a_way_has_ended_is_refused() {
    let text = mistakes(|b, n| {
        b.fail((), |()| "always");
        b.each(n, |n| n + 1);
    });
    assert!(text.contains("`each` is never reached"), "{text}");
    let text = mistakes(|b, n| {
        b.repeat(n, |b, rounds, n| {
            b.continue_loop(rounds, n);
            b.filter(n, |n| n > 0);
        });
    });
    assert!(text.contains("never reached"), "{text}");
}

#[test]
fn a_loop_is_continued_in_its_body_only() {
    let text = mistakes(|b, n| {
        let mut outside = None;
        b.repeat(n, |b, rounds, _| {
            outside = Some(rounds);
            b.emit_loop(rounds, ());
        });
        b.continue_loop(outside.unwrap(), n);
    });
    assert!(text.contains("outside its body") && text.contains("mistakes.rs:"), "{text}");
}

#[test]
fn vars_of_one_branch_are_not_seen_after_unify_and_those_from_before_are() {
    let text = mistakes(|b, n| {
        let root = b.anchor(());
        let left_only = b.each(n, |n| n + 1);
        b.name(left_only, "*left");
        let left: Anchor<()> = b.anchor(());
        b.hook(&root);
        let right = b.anchor(());
        b.unify([left, right]);
        b.each(n, |n| n * 2);
        b.each(left_only, |n| n * 2);
    });
    assert_eq!(text.matches("attach point").count(), 1, "{text}");
    assert!(text.contains("`*left`"), "{text}");
}

#[test]
fn cases_without_an_end_and_never_where_the_code_goes_on_are_refused() {
    let text = mistakes(|b, n| {
        let _ = b.switch::<_, ()>(n).case(|n| n == 1, |_| {});
    });
    assert!(text.contains("`switch` is not ended"), "{text}");
    let text = mistakes(|b, _| {
        let _: Var<i64> = b.never();
    });
    assert!(text.contains("never"), "{text}");
}

#[test]
fn a_default_that_fails_need_not_bind_what_the_cases_do() {
    let block = TestBlock::new(|b, n: Var<i64>| {
        b.cond().case(|b| b.each(n, |n| n > 0), |b| b.each(n, |n| n * 10)).otherwise(|b| {
            b.fail(n, |n| format!("{n} is not positive"));
            b.never()
        })
    });
    let mut seen = Vec::new();
    block.run(&3i64, |n| seen.push(n)).unwrap();
    assert_eq!(seen, [30]);
    let error = block.run(&-3i64, |_| {}).unwrap_err().to_string();
    assert!(error.contains("-3 is not positive") && error.contains("mistakes.rs:"), "{error}");
}

#[test]
fn a_partitioner_in_a_block_that_is_run_directly_is_refused() {
    let block = TestBlock::new(|b, n: Var<i64>| {
        b.hash_partition(n);
        n
    });
    assert!(block.run(&1i64, |_| {}).unwrap_err().to_string().contains("partitioners"));
}

#[test]
fn names_that_are_bound_on_one_way_only_are_missing_after_it_and_a_name_bound_again_is_newer() {
    let text = mistakes(|b, n| {
        b.named(|d| {
            d.import("*n", n);
            d.if_true("*n", |d| d.each("*inner", &["*n"], |v| v[0].clone()));
            d.each("*out", &["*inner"], |v| v[0].clone());
        });
    });
    assert!(text.contains("`*inner`") && text.contains("mistakes.rs:"), "{text}");
    let block = TestBlock::new(|b, n: Var<i64>| {
        b.named(|d| {
            d.import("*n", n);
            d.each("*even", &["*n"], |v| (v[0].as_i64().unwrap_or(1) % 2 == 0).into());
            d.if_true("*even", |d| d.each("*n", &["*n"], |v| (v[0].as_i64().unwrap_or(0) * 100).into()));
            d.var("*n")
        })
    });
    let mut seen = Vec::new();
    for n in [3i64, 4] {
        block.run(&n, |n| seen.push(n.as_i64().unwrap())).unwrap();
    }
    assert_eq!(seen, [3, 400]);
}
