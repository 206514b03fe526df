"""The simulated clusters as a process of their own, beside workers and dispatcher."""
