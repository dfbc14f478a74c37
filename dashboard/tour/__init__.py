"""The guided tour: five steps for newcomers, beside the flow. It is for those who see everyone's events."""
