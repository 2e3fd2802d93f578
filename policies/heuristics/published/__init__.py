"""Published controllers, written anew from their texts and public code; docs/controllers.md says how sure each number is."""
