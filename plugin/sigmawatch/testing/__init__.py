"""Tests of content on a real engine: raw lines through pipelines, rules and alerts, with what gets deployed."""
