//! What becomes of the values of pixels.

use super::Check;

pub(super) const CHECKS: &[Check] = &[];
