"""The `tiphys` command. Each command imports what it needs when it runs: starting fast is part of
the job."""
