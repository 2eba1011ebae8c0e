//! What every daemon has: telemetry, health, shutdown, the panic hook.
