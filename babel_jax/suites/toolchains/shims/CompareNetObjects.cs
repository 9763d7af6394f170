// The part of the library CompareNETObjects that the C# tests of mxeval use: new CompareLogic().Compare(a, b).AreEqual,
// after its public documentation and with its default configuration: values of different types differ, collections
// are compared in their order but dictionaries by their keys (as the library has done since 2019), strings by case,
// floating-point numbers exactly, all else by public fields and properties.
using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace KellermanSoftware.CompareNetObjects
{
    public class ComparisonResult
    {
        internal ComparisonResult(string difference) { DifferencesString = difference; }

        public bool AreEqual { get { return DifferencesString == ""; } }

        /// <summary>Where the first difference is, and which; "" if there is none.</summary>
        public string DifferencesString { get; private set; }
    }

    public class CompareLogic
    {
        public ComparisonResult Compare(object expected, object actual)
        {
            return new ComparisonResult(Difference("", expected, actual, new HashSet<Pair>()));
        }

        // Two objects that are being compared further out: an object may hold itself.
        struct Pair : IEquatable<Pair>
        {
            public object Left, Right;
            public bool Equals(Pair other) { return ReferenceEquals(Left, other.Left) && ReferenceEquals(Right, other.Right); }
            public override bool Equals(object other) { return other is Pair && Equals((Pair)other); }
            public override int GetHashCode()
            {
                return RuntimeHelpers.GetHashCode(Left) * 31 + RuntimeHelpers.GetHashCode(Right);
            }
        }

        static string Difference(string place, object left, object right, HashSet<Pair> open)
        {
            if (left == null || right == null)
                return left == right ? "" : place + ": (null) differs from " + (left ?? right).GetType();
            Type type = left.GetType();
            if (type != right.GetType())
                return place + ": " + type + " differs from " + right.GetType();
            if (IsValue(type))
                return left.Equals(right) ? "" : place + ": " + left + " differs from " + right;
            var pair = new Pair { Left = left, Right = right };
            if (ReferenceEquals(left, right) || !open.Add(pair))
                return "";
            string difference = left is IDictionary
                ? OfDictionaries(place, (IDictionary)left, (IDictionary)right, open)
                : left is IEnumerable
                ? OfCollections(place, (IEnumerable)left, (IEnumerable)right, open)
                : OfMembers(place, left, right, open);
            open.Remove(pair);
            return difference;
        }

        static bool IsValue(Type type)
        {
            return type.IsPrimitive || type.IsEnum || type == typeof(string) || type == typeof(decimal)
                || type == typeof(BigInteger) || type == typeof(DateTime) || type == typeof(DateTimeOffset)
                || type == typeof(TimeSpan) || type == typeof(Guid) || typeof(Delegate).IsAssignableFrom(type)
                || typeof(Type).IsAssignableFrom(type);
        }

        static string OfDictionaries(string place, IDictionary left, IDictionary right, HashSet<Pair> open)
        {
            if (left.Count != right.Count)
                return place + ": " + left.Count + " items differ from " + right.Count;
            foreach (DictionaryEntry item in left)
            {
                if (!right.Contains(item.Key))
                    return place + ": only one has the key " + item.Key;
                string difference = Difference(place + "[" + item.Key + "]", item.Value, right[item.Key], open);
                if (difference != "")
                    return difference;
            }
            return "";
        }

        static string OfCollections(string place, IEnumerable left, IEnumerable right, HashSet<Pair> open)
        {
            if (left is Array)
            {
                Array one = (Array)left, two = (Array)right;
                for (int d = 0; d < one.Rank; d++)
                    if (one.GetLength(d) != two.GetLength(d))
                        return place + ": " + one.GetLength(d) + " items differ from " + two.GetLength(d);
            }
            List<object> lefts = left.Cast<object>().ToList(), rights = right.Cast<object>().ToList();
            if (lefts.Count != rights.Count)
                return place + ": " + lefts.Count + " items differ from " + rights.Count;
            for (int i = 0; i < lefts.Count; i++)
            {
                string difference = Difference(place + "[" + i + "]", lefts[i], rights[i], open);
                if (difference != "")
                    return difference;
            }
            return "";
        }

        static string OfMembers(string place, object left, object right, HashSet<Pair> open)
        {
            foreach (FieldInfo field in left.GetType().GetFields(BindingFlags.Public | BindingFlags.Instance))
            {
                string difference = Difference(place + "." + field.Name, field.GetValue(left), field.GetValue(right), open);
                if (difference != "")
                    return difference;
            }
            foreach (PropertyInfo property in left.GetType().GetProperties(BindingFlags.Public | BindingFlags.Instance))
            {
                if (!property.CanRead || property.GetIndexParameters().Length > 0)
                    continue;
                string difference = Difference(
                    place + "." + property.Name, property.GetValue(left, null), property.GetValue(right, null), open);
                if (difference != "")
                    return difference;
            }
            return "";
        }
    }
}
