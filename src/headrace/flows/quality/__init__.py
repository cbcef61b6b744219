"""Quality of experience: an independent recount of what `apps/live-quality` computes in SQL."""
