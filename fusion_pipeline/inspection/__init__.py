"""What a trained fusion listened to, what each adapter is worth to it, and how alike they are."""
