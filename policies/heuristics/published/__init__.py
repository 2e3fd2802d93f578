"""Published controllers, written anew from their texts and public code; each number says how sure it is."""
