#![no_main]

sutler_fuzz::fuzz!(pnm);
