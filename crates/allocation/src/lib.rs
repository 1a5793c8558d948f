//! Where a job goes: on which GPUs of a node. Pure: a snapshot and a ledger in,
//! an answer out.

mod budget;
mod external;
mod placement;
mod reservation;
mod shortfall;
mod slot;

pub use budget::Occupant;
pub use placement::{Device, Node, Placement, Request, Rules, Thresholds, allocated, headroom, place};
pub use reservation::{keep_free, reserve};
pub use shortfall::{Infeasible, Obstacle, Shortfall};
