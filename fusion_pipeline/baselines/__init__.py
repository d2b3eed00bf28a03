"""What a fusion is measured against: other ways to learn the target, through the same data, selection and reports."""
