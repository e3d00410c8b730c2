using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine;

/// <summary>What a parameter is for; regularisers, weight decay, noise and surgery treat the roles differently.</summary>
public enum ParameterRole
{
    /// <summary>A filter [out, kernelHeight, kernelWidth, in] or matrix [out, in].</summary>
    Weight,

    /// <summary>An additive vector [out] beside a weight.</summary>
    Bias,

    /// <summary>A learned table [tokens, channels] that is added to activations, such as position embeddings.</summary>
    Embedding,

    /// <summary>γ of a normalization.</summary>
    NormalizationScale,

    /// <summary>β of a normalization.</summary>
    NormalizationShift,

    /// <summary>Running mean of a batch normalization; not trained.</summary>
    RunningMean,

    /// <summary>Running variance of a batch normalization; not trained.</summary>
    RunningVariance,
}

/// <summary>
/// A named tensor that a model owns for the length of its life, with its gradient. Its channels can be removed: <see cref="Replace"/> puts a smaller tensor in
/// its place, and everything that refers to the parameter sees the new one.
/// </summary>
public sealed class Parameter : IDisposable
{
    private Tensor gradient;
    private bool isFrozen;

    // Parts of the gradient, [part, stored elements]: where its sum has not been asked for, `gradient` is out of date, and whoever takes the gradient adds the parts or takes the sum.
    private Tensor parts;
    private int partCount = 1;

    private Tensor reduced;
    private bool isReducedCurrent;

    /// <summary>Takes a tensor over as the value of a new parameter.</summary>
    /// <param name="name">Its name inside the module that owns it, such as <c>weight</c>.</param>
    /// <param name="role">What it is for.</param>
    /// <param name="value">The value; no scope must own it (<see cref="Tensor.AllocateUnscoped"/>).</param>
    public Parameter(string name, ParameterRole role, Tensor value)
    {
        Name = name;
        Role = role;
        Value = value;
        Attach();
    }

    /// <summary>
    /// The full name in the model, such as <c>layer1.0.conv1.weight</c>; set when the model is put together. It identifies the parameter in files, and its noise.
    /// </summary>
    public string Name { get; set; }

    /// <summary>What the parameter is for.</summary>
    public ParameterRole Role { get; }

    /// <summary>Whether an optimizer updates it; running statistics are not trained.</summary>
    public bool IsTrained => Role is not (ParameterRole.RunningMean or ParameterRole.RunningVariance);

    /// <summary>Whether backward passes leave its gradient out and save its arithmetic, as where only gates or inputs are differentiated.</summary>
    public bool IsFrozen
    {
        get => isFrozen;
        set
        {
            isFrozen = value;
            Value.Handle.RequiresGradient = IsTrained && !isFrozen;
        }
    }

    /// <summary>Whether it belongs to a normalization and is trained: γ or β.</summary>
    public bool IsNormalization => Role is ParameterRole.NormalizationScale or ParameterRole.NormalizationShift;

    /// <summary>The current value.</summary>
    public Tensor Value { get; private set; }

    /// <summary>The gradient, of the value's shape; meaningful while <see cref="HasGradient"/>.</summary>
    /// <exception cref="InvalidOperationException">No backward pass has reached this parameter since its gradient was cleared.</exception>
    public Tensor Gradient
    {
        get
        {
            if (!HasGradient)
            {
                throw new InvalidOperationException($"Parameter {Name} has no gradient: no backward pass reached it.");
            }

            FinishGradient();
            return gradient;
        }
    }

    /// <summary>
    /// A bfloat16 copy of the value, as convolutions read it under <see cref="Precision.Bf16"/>; the optimizer writes it along with the value. It is made when it is first asked for, and again
    /// when the value has been written by something else, which <see cref="ValueChanged"/> tells it.
    /// </summary>
    public Tensor ReducedValue
    {
        get
        {
            if (reduced.IsNone)
            {
                reduced = Tensor.AllocateUnscoped(Value.Device, Shape, ElementType.BFloat16);
                isReducedCurrent = false;
            }

            RefreshReducedValue();
            return reduced;
        }
    }

    /// <summary>Whether a backward pass has written the gradient since it was cleared.</summary>
    public bool HasGradient { get; private set; }

    /// <summary>Whether the parameter was dropped from its model (<see cref="Dispose"/>), as happens to a branch whose units all died.</summary>
    public bool IsRemoved => !Value.IsAlive;

    /// <summary>The shape of the value.</summary>
    public Shape Shape => Value.Shape;

    /// <summary>Identifies the parameter's noise: the 32-bit FNV-1a hash of its full name.</summary>
    public uint TensorId => StreamId.Of(Name);

    /// <summary>Activity of the channels that this parameter's rows (or, of a vector, elements) produce; noise is masked by it. Null: all count as live.</summary>
    public ChannelActivity? RowActivity { get; set; }

    /// <summary>Indices in the dense model of the rows (the elements, of a vector); null while nothing was removed.</summary>
    public ChannelIndices? OriginalRows { get; set; }

    /// <summary>Indices in the dense model of the columns of a weight; null while nothing was removed.</summary>
    public ChannelIndices? OriginalColumns { get; set; }

    /// <summary>
    /// Height and width of the image whose flattened values a matrix reads; null if it reads none. Its columns are in the order (height, width, channel), where
    /// files of other frameworks have (channel, height, width).
    /// </summary>
    public (int Height, int Width)? FlattenedImage { get; set; }

    /// <summary>Output channels: the first extent.</summary>
    public int Rows => Shape[0];

    /// <summary>Input channels of a weight, the last extent; 1 for a vector.</summary>
    public int Columns => Shape.Rank == 1 ? 1 : Shape.Channels;

    /// <summary>Elements between rows and columns: the taps of a filter; 1 otherwise.</summary>
    public int Taps => Shape.Rank <= 2 ? 1 : (int)(Shape.ElementCount / Rows / Columns);

    /// <summary>
    /// To be called by whoever writes into the memory of <see cref="Value"/> through a kernel or a copy of its own: the copy in bfloat16 is out of date. <see cref="Tensor.CopyFrom"/>,
    /// <see cref="Tensor.CopyFromStored"/>, <see cref="Replace"/> and the optimizers call it themselves.
    /// </summary>
    public void ValueChanged() => isReducedCurrent = false;

    /// <summary>Forgets the gradient; the next backward pass overwrites it.</summary>
    public void ClearGradient() => HasGradient = false;

    /// <summary>Puts another tensor in the value's place and frees the old value, its copy and gradient.</summary>
    /// <param name="value">The new value, unscoped; the rank must not change.</param>
    public void Replace(Tensor value)
    {
        if (value.Shape.Rank != Shape.Rank)
        {
            throw new ArgumentException($"Parameter {Name} has shape {Shape}; a value of shape {value.Shape} has another rank.", nameof(value));
        }

        FreeTensors();
        Value = value;
        Attach();
    }

    /// <summary>Frees value, copy and gradient.</summary>
    public void Dispose()
    {
        FreeTensors();
        OriginalRows?.Dispose();
        OriginalColumns?.Dispose();
        OriginalRows = null;
        OriginalColumns = null;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name} {(Value.IsAlive ? Shape.ToString() : "(freed)")}";

    /// <summary>
    /// Where the gradient is kept, whether there is one now or not: <see cref="GradientParts"/> arrays of the value's layout, one after the other. None before the first.
    /// </summary>
    internal DeviceBuffer GradientStorage => partCount > 1 ? parts.Buffer : gradient.IsNone ? DeviceBuffer.None : gradient.Buffer;

    /// <summary>Parts in which the gradient is, or last was: 1 where it is finished.</summary>
    internal int GradientParts => partCount;

    /// <summary>The gradient's buffer for a backward kernel, and whether it holds a gradient already.</summary>
    internal DeviceBuffer GradientForBackward(out bool holdsGradient)
    {
        FinishGradient();
        if (gradient.IsNone)
        {
            gradient = Tensor.AllocateUnscoped(Value.Device, Shape);
        }

        holdsGradient = HasGradient;
        HasGradient = true;
        return gradient.Buffer;
    }

    /// <summary>The bfloat16 copy's buffer for a kernel that updates the value; None while nothing has asked for the copy.</summary>
    internal DeviceBuffer ReducedForUpdate => reduced.IsNone ? DeviceBuffer.None : reduced.Buffer;

    /// <summary>Brings the bfloat16 copy, if there is one, up to date now.</summary>
    internal void RefreshReducedValue()
    {
        if (!reduced.IsNone && !isReducedCurrent)
        {
            Value.Device.Elementwise.Convert(Shape, Value.Buffer, reduced.Buffer, GradientMode.Overwrite);
            isReducedCurrent = true;
        }
    }

    /// <summary>A kernel has updated the value and written the same into the bfloat16 copy, if there is one.</summary>
    internal void ValueUpdatedWithCopy() => isReducedCurrent = true;

    /// <summary>Room for a gradient in parts, for a backward kernel that writes all of them; None where there is a gradient already, which must be finished and added to.</summary>
    internal DeviceBuffer PartsForBackward(int count)
    {
        if (HasGradient)
        {
            return DeviceBuffer.None;
        }

        Shape shape = new(count, checked((int)Shape.StorageCount));
        if (parts.IsNone || parts.Shape != shape)
        {
            parts.Dispose();
            parts = Tensor.AllocateUnscoped(Value.Device, shape);
        }

        partCount = count;
        HasGradient = true;
        return parts.Buffer;
    }

    /// <summary>Adds up a gradient that is in parts.</summary>
    internal void FinishGradient()
    {
        if (partCount == 1)
        {
            return;
        }

        if (HasGradient)
        {
            if (gradient.IsNone)
            {
                gradient = Tensor.AllocateUnscoped(Value.Device, Shape);
            }

            Value.Device.Convolution.CombineFilterGradient(Shape, partCount, parts.Buffer, gradient.Buffer);
        }

        partCount = 1;
    }

    private void Attach()
    {
        TensorHandle handle = Value.Handle;
        handle.Parameter = this;
        handle.RequiresGradient = IsTrained && !isFrozen;
    }

    private void FreeTensors()
    {
        Value.Dispose();
        gradient.Dispose();
        gradient = default;
        parts.Dispose();
        parts = default;
        partCount = 1;
        HasGradient = false;
        reduced.Dispose();
        reduced = default;
    }
}
