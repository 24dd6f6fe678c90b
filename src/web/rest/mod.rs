//! REST APIs for other servers. Each folder speaks the contract of one product.

pub mod arcade;
