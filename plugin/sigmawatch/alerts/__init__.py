"""What an alert is: one ECS document, the same whoever executed the detection."""
