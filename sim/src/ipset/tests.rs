mod errors;
mod laws;
mod state;
