// SPDX-License-Identifier: Apache-2.0
//! What the attack driver and those who run it have in common: the catalogue of ways, where things
//! lie in the image that is attacked, and what the driver says of each way. No way is gone here.

pub mod catalogue;
pub mod places;
pub mod report;
