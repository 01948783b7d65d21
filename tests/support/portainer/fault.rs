//! What a bad day does to the stand-in's answers: a rule per call and path, taken once or more often.

use http::Method;
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with that status and an error in JSON; nothing is done.
    Status(u16),
    /// It is answered with that status and no body; nothing is done.
    Empty(u16),
    /// It waits, and is done after that if the client still waits.
    Hang(Duration),
    /// The connection is cut; nothing is done.
    Cut,
    /// It is done, and the connection is cut instead of an answer.
    LoseAnswer,
    /// It is done, and the connection is cut in the middle of the answer's body.
    CutAnswer,
    /// It is done, and the answer comes that much later.
    DelayAnswer(Duration),
}

/// A fault that waits for its request.
#[derive(Debug)]
pub struct Rule {
    /// None for any.
    pub method: Option<Method>,
    pub pattern: String,
    pub fault: Fault,
    /// How many that fit pass before it.
    pub passing: usize,
    /// How often it is still to happen.
    pub left: usize,
}

impl Rule {
    /// Takes the oldest fault for that request, and forgets a rule that is used up.
    pub fn take(rules: &mut Vec<Rule>, method: &Method, path: &str) -> Option<Fault> {
        let any = |rule: &Rule| rule.method.as_ref().is_none_or(|wanted| wanted == method);
        let due = |rule: &mut Rule| {
            let passes = rule.passing > 0;
            rule.passing = rule.passing.saturating_sub(1);
            !passes
        };
        let position = rules.iter_mut().position(|rule| any(rule) && fits(&rule.pattern, path) && due(rule))?;
        rules[position].left -= 1;
        let fault = rules[position].fault;
        if rules[position].left == 0 {
            rules.remove(position);
        }
        Some(fault)
    }
}

/// `*` stands for one step of a path, `**` at the end for any further ones.
pub fn fits(pattern: &str, path: &str) -> bool {
    let mut steps = path.split('/');
    for wanted in pattern.split('/') {
        match (wanted, steps.next()) {
            ("**", _) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (wanted, Some(step)) if wanted == step => {}
            _ => return false,
        }
    }
    steps.next().is_none()
}
