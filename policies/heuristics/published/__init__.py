"""Published controllers, written anew from their texts and public code; each number is marked with its source."""
