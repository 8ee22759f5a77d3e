//! Steps that do nothing are taken out before a topology is lowered: copies of nothing, forks into nothing, jumps to the
//! next step, steps that nothing leads to; a jump to a jump goes where that goes.

use crate::step::{Step, StepRecord};

/// Takes them out.
pub(crate) fn squeeze(steps: &mut Vec<StepRecord>) {
    while squeeze_once(steps) {}
}

fn squeeze_once(steps: &mut Vec<StepRecord>) -> bool {
    let last: Vec<usize> = (0..steps.len()).map(|at| end_of_jumps(steps, at)).collect();
    steps.iter_mut().for_each(|record| record.step.each_target(&mut |to| *to = last[*to]));
    let reached = reached(steps);
    let idle = steps.iter().enumerate().map(|(at, record)| !reached[at] || is_idle(&record.step, at));
    let idle: Vec<bool> = idle.collect();
    if !idle.contains(&true) {
        return false;
    }
    let mut places = Vec::new();
    let mut place = 0;
    for idle in &idle {
        places.push(place);
        place += usize::from(!idle);
    }
    let mut at = 0;
    steps.retain(|_| {
        at += 1;
        !idle[at - 1]
    });
    steps.iter_mut().for_each(|record| record.step.each_target(&mut |to| *to = places[*to]));
    true
}

fn is_idle(step: &Step, at: usize) -> bool {
    match step {
        Step::Copy(moves) => moves.is_empty(),
        Step::Fork { branches } => branches.is_empty(),
        Step::Jump(to) => *to == at + 1,
        _ => false,
    }
}

/// Whether anything leads to each step from the start.
fn reached(steps: &mut [StepRecord]) -> Vec<bool> {
    let mut open = vec![0];
    let mut reached = vec![false; steps.len()];
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            if steps[at].step.falls_through() {
                open.push(at + 1);
            }
            steps[at].step.each_target(&mut |to| open.push(*to));
        }
    }
    reached
}

/// Where jumps from here lead. A loop of nothing but jumps leads anywhere in it.
fn end_of_jumps(steps: &[StepRecord], mut at: usize) -> usize {
    for _ in 0..steps.len() {
        match steps[at].step {
            Step::Jump(to) => at = to,
            _ => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::here;

    fn steps(steps: Vec<Step>) -> Vec<StepRecord> {
        let record = |step| StepRecord { step, label: String::new(), uses: vec![], defs: vec![], place: here() };
        steps.into_iter().map(record).collect()
    }

    #[test]
    fn what_does_nothing_is_gone_and_jumps_still_lead_where_they_led() {
        let mut code = steps(vec![
            Step::If { condition: 0, otherwise: 4 },
            Step::TaskId(1),
            Step::Copy(vec![]),
            Step::Jump(6),
            Step::Copy(vec![]),
            Step::Jump(6),
            Step::Fork { branches: vec![] },
            Step::Jump(9),
            Step::End,
            Step::TaskId(2),
            Step::End,
        ]);
        squeeze(&mut code);
        assert_eq!(code.len(), 4);
        let left = [0, 1, 2, 3].map(|at| &code[at].step);
        assert!(matches!(left, [Step::If { otherwise: 2, .. }, Step::TaskId(1), Step::TaskId(2), Step::End]));
    }
}
