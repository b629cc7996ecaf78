//! Adapters within this process: the exchange, the clock, randomness, and what leaves by the console.

mod console;
mod exchange;
mod quota;
mod system;

pub use console::{ConsoleTexter, QuietPusher};
pub use exchange::LocalExchange;
pub use system::{SystemClock, SystemEntropy};
