//! Authorities: made or adopted once, renewed with the same key, lost but never silently replaced.

pub mod adopt;
pub mod desired;
pub mod plan;
pub mod status;

pub use desired::{DesiredAuthority, Origin, desired};
pub use plan::{AuthorityPlan, AuthorityStep, ObservedAuthority, plan};

#[cfg(test)]
mod tests;
