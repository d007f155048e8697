#![allow(unused)]

use crankcase::{Answer, Crank};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Holder<T> {
    value: T,
}

#[crankcase::vat(kind = "holder", version = 1)]
impl<T: Serialize> Holder<T> {
    #[create]
    fn new(_cx: &Crank<Self>, value: T) -> Answer<Self> {
        Ok(Holder { value })
    }
}

fn main() {}
