"""What runs in the peers' processes; nothing here imports vipjax, whose Python may not have it."""
