//! Where a job goes: on which GPUs of a node. Pure: a snapshot and a ledger in,
//! an answer out.

mod budget;
mod external;
mod node;
mod placement;
mod request;
mod reservation;
mod shortfall;
mod slot;

pub use budget::Occupant;
pub use node::{Device, Node};
pub use placement::{Placement, allocated, headroom, place};
pub use request::{Request, Rules, Thresholds};
pub use reservation::{keep_free, reserve};
pub use shortfall::{Infeasible, Obstacle, Shortfall};
